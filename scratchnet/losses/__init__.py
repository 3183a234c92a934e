"""Loss functions, one idea per file."""

from scratchnet.losses.binary import (
    BCELoss,
    BCEWithLogitsLoss,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
)
from scratchnet.losses.cross_entropy import CrossEntropyLoss, NLLLoss, cross_entropy, nll_loss
from scratchnet.losses.margin import MultiMarginLoss, multi_margin_loss
from scratchnet.losses.regression import L1Loss, MSELoss, l1_loss, mse_loss

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "L1Loss",
    "MSELoss",
    "MultiMarginLoss",
    "NLLLoss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "l1_loss",
    "mse_loss",
    "multi_margin_loss",
    "nll_loss",
]
