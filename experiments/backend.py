"""Whose components a network is made of: the ones of this repository, or PyTorch's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

import scratchnet.nn
import scratchnet.optim

__all__ = ["BACKENDS", "BUILTIN", "CUSTOM", "Backend"]


@dataclass(frozen=True)
class Backend:
    """A namespace of layers and losses under PyTorch's names, and the optimizer that goes with them."""

    name: str
    nn: Any
    SGD: Any


CUSTOM = Backend("custom", scratchnet.nn, scratchnet.optim.SGD)
BUILTIN = Backend("builtin", torch.nn, torch.optim.SGD)

# What ``--backend`` may be, and the networks that then learn side by side.
BACKENDS: dict[str, list[Backend]] = {"scratch": [CUSTOM], "builtin": [BUILTIN], "twin": [CUSTOM, BUILTIN]}
