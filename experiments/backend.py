"""Whose components a network is made of: the ones of this repository, or PyTorch's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

import scratchnet.nn
import scratchnet.optim

__all__ = ["BUILTIN", "CUSTOM", "Backend"]


@dataclass(frozen=True)
class Backend:
    """A namespace of layers and losses under PyTorch's names, and the optimizer that goes with them."""

    name: str
    nn: Any
    SGD: Any


CUSTOM = Backend("custom", scratchnet.nn, scratchnet.optim.SGD)
BUILTIN = Backend("builtin", torch.nn, torch.optim.SGD)
