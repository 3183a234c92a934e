"""Activations that overwrite their input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from scratchnet.function import Function

__all__ = ["InPlaceModule", "overwrite"]


def overwrite(op: type[Function], input: Tensor, *others: Any) -> Tensor:
    """Overwrites a tensor with an op of itself and of other arguments, and returns it.

    The op's backward needs the input as it was, so where a gradient may be asked for it gets a copy: working in
    place saves memory at inference, not in training.
    """
    x = input.clone() if torch.is_grad_enabled() else input
    return input.copy_(op.apply(x, *others))


class InPlaceModule(nn.Module):
    """A module whose one option is whether to overwrite its input."""

    __constants__ = ["inplace"]

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        """The option, where it differs from the default."""
        return "inplace=True" if self.inplace else ""
