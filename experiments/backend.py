"""Selects the components of a network: scratchnet's or PyTorch's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

import scratchnet.nn
import scratchnet.optim
from experiments import builtin_modules

__all__ = ["BACKENDS", "BUILTIN", "CUSTOM", "Backend"]


@dataclass(frozen=True)
class Backend:
    """The components that networks and optimizers are built from.

    Attributes:
        name: ``custom`` or ``builtin``.
        nn: Layers and losses under PyTorch's names, and the few that PyTorch lacks.
        optim: Optimizers under PyTorch's names.
        penalties: ``l1_penalty``, ``l2_penalty`` and ``max_norm_``.
    """

    name: str
    nn: Any
    optim: Any
    penalties: Any


CUSTOM = Backend("custom", scratchnet.nn, scratchnet.optim, scratchnet.optim)
BUILTIN = Backend("builtin", builtin_modules.torch_nn, torch.optim, builtin_modules)

# Values of ``--backend``, and the networks that each one trains side by side.
BACKENDS: dict[str, list[Backend]] = {"scratch": [CUSTOM], "builtin": [BUILTIN], "twin": [CUSTOM, BUILTIN]}
