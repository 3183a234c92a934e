"""Loss functions, one idea per file."""

from scratchnet.losses.binary import binary_cross_entropy, binary_cross_entropy_with_logits
from scratchnet.losses.cosine import cosine_embedding_loss
from scratchnet.losses.cross_entropy import cross_entropy
from scratchnet.losses.ctc import ctc_loss
from scratchnet.losses.divergence import kl_div
from scratchnet.losses.huber import huber_loss, smooth_l1_loss
from scratchnet.losses.likelihood import gaussian_nll_loss, poisson_nll_loss
from scratchnet.losses.linear_cross_entropy import linear_cross_entropy
from scratchnet.losses.margin import multi_margin_loss
from scratchnet.losses.multilabel import multilabel_margin_loss, multilabel_soft_margin_loss
from scratchnet.losses.nll import nll_loss
from scratchnet.losses.regression import l1_loss, mse_loss
from scratchnet.losses.signed import hinge_embedding_loss, margin_ranking_loss, soft_margin_loss
from scratchnet.losses.triplet import triplet_margin_loss, triplet_margin_with_distance_loss

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cross_entropy",
    "ctc_loss",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "linear_cross_entropy",
    "margin_ranking_loss",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]
