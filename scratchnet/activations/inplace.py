"""Modules of activations that may overwrite their input."""

from __future__ import annotations

from torch import nn

__all__ = ["InPlaceModule"]


class InPlaceModule(nn.Module):
    """A module whose one option is whether to overwrite its input."""

    __constants__ = ["inplace"]

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        """The option, where it differs from the default."""
        return "inplace=True" if self.inplace else ""
