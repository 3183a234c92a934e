"""Loss functions, one idea per file."""

from scratchnet.losses.binary import (
    BCELoss,
    BCEWithLogitsLoss,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
)
from scratchnet.losses.cosine import CosineEmbeddingLoss, cosine_embedding_loss
from scratchnet.losses.cross_entropy import CrossEntropyLoss, cross_entropy
from scratchnet.losses.ctc import CTCLoss, ctc_loss
from scratchnet.losses.divergence import KLDivLoss, kl_div
from scratchnet.losses.huber import HuberLoss, SmoothL1Loss, huber_loss, smooth_l1_loss
from scratchnet.losses.likelihood import GaussianNLLLoss, PoissonNLLLoss, gaussian_nll_loss, poisson_nll_loss
from scratchnet.losses.linear_cross_entropy import LinearCrossEntropyLoss, linear_cross_entropy
from scratchnet.losses.margin import MultiMarginLoss, multi_margin_loss
from scratchnet.losses.multilabel import (
    MultiLabelMarginLoss,
    MultiLabelSoftMarginLoss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
)
from scratchnet.losses.nll import NLLLoss, nll_loss
from scratchnet.losses.regression import L1Loss, MSELoss, l1_loss, mse_loss
from scratchnet.losses.signed import (
    HingeEmbeddingLoss,
    MarginRankingLoss,
    SoftMarginLoss,
    hinge_embedding_loss,
    margin_ranking_loss,
    soft_margin_loss,
)
from scratchnet.losses.triplet import (
    TripletMarginLoss,
    TripletMarginWithDistanceLoss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CTCLoss",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "LinearCrossEntropyLoss",
    "MSELoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
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
