"""Wrong Functions in PyTorch's own protocol, each a mistake that people report: a forward and a backward, no more."""

from __future__ import annotations

from . import activations, arithmetic, layers, losses, protocol

__all__ = ["AREAS"]

AREAS = (activations, losses, layers, arithmetic, protocol)
