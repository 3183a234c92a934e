"""Optimizers, written out as tensor arithmetic."""

from __future__ import annotations

from scratchnet.optim.sgd import SGD

__all__ = ["SGD"]
