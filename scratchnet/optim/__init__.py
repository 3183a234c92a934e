"""Optimizers, and what keeps weights small, written out as tensor arithmetic."""

from __future__ import annotations

from scratchnet.optim import lr_scheduler as lr_scheduler
from scratchnet.optim import swa_utils as swa_utils
from scratchnet.optim.adam import Adam, AdamW
from scratchnet.optim.penalties import l1_penalty, l2_penalty, max_norm_
from scratchnet.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "l1_penalty", "l2_penalty", "max_norm_"]
