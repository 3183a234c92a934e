"""The functional forms, under the names of ``torch.nn.functional``."""

from torch.nn.functional import ScalingType as ScalingType
from torch.nn.functional import SwizzleType as SwizzleType

from scratchnet.activations.elu import celu, celu_, elu, elu_, selu, selu_
from scratchnet.activations.gated import glu, mish, silu, swiglu
from scratchnet.activations.gelu import gelu
from scratchnet.activations.gumbel import gumbel_softmax
from scratchnet.activations.hard import hardsigmoid, hardswish
from scratchnet.activations.hardtanh import hardtanh, hardtanh_, relu6
from scratchnet.activations.learned import learned_elu, prelu
from scratchnet.activations.logsumexp import logsumexp
from scratchnet.activations.maxout import maxout
from scratchnet.activations.relu import leaky_relu, leaky_relu_, relu, relu_
from scratchnet.activations.rrelu import rrelu, rrelu_
from scratchnet.activations.shrink import hardshrink, softshrink, tanhshrink
from scratchnet.activations.sigmoid import sigmoid
from scratchnet.activations.softmax import log_softmax, softmax
from scratchnet.activations.softmin import softmin
from scratchnet.activations.softplus import logsigmoid, softplus
from scratchnet.activations.softsign import softsign
from scratchnet.activations.tanh import tanh
from scratchnet.activations.threshold import threshold, threshold_
from scratchnet.attention.attention import scaled_dot_product_attention
from scratchnet.attention.multi_head_attention import multi_head_attention_forward
from scratchnet.convolution.convolution import conv1d, conv2d, conv3d, conv_tbc
from scratchnet.convolution.transposed import conv_transpose1d, conv_transpose2d, conv_transpose3d
from scratchnet.convolution.unfolding import fold, unfold
from scratchnet.dropout.alpha_dropout import alpha_dropout, feature_alpha_dropout
from scratchnet.dropout.channel_dropout import dropout1d, dropout2d, dropout3d
from scratchnet.dropout.dropout import dropout
from scratchnet.embedding.embedding import embedding
from scratchnet.embedding.embedding_bag import embedding_bag
from scratchnet.embedding.one_hot import one_hot
from scratchnet.fused.pooled_convolution import conv2d_relu_max_pool2d
from scratchnet.fused.rectified_convolution import conv2d_relu
from scratchnet.linear.bilinear import bilinear
from scratchnet.linear.grouped_mm import grouped_mm, scaled_mm
from scratchnet.linear.linear import linear
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
from scratchnet.normalization.batch_norm import batch_norm
from scratchnet.normalization.group_norm import group_norm
from scratchnet.normalization.instance_norm import instance_norm
from scratchnet.normalization.layer_norm import layer_norm
from scratchnet.normalization.lp_normalize import normalize
from scratchnet.normalization.response_norm import local_response_norm
from scratchnet.normalization.rms_norm import rms_norm
from scratchnet.normalization.weight_norm import weight_norm
from scratchnet.padding import pad
from scratchnet.pooling.adaptive_pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
)
from scratchnet.pooling.average_pooling import avg_pool1d, avg_pool2d, avg_pool3d
from scratchnet.pooling.fractional_pooling import fractional_max_pool2d, fractional_max_pool3d
from scratchnet.pooling.lp_pooling import lp_pool1d, lp_pool2d, lp_pool3d
from scratchnet.pooling.max_pooling import max_pool1d, max_pool2d, max_pool3d
from scratchnet.pooling.unpooling import max_unpool1d, max_unpool2d, max_unpool3d
from scratchnet.pooling.with_indices import (
    adaptive_max_pool1d_with_indices,
    adaptive_max_pool2d_with_indices,
    adaptive_max_pool3d_with_indices,
    fractional_max_pool2d_with_indices,
    fractional_max_pool3d_with_indices,
    max_pool1d_with_indices,
    max_pool2d_with_indices,
    max_pool3d_with_indices,
)
from scratchnet.resampling.grid_sample import affine_grid, grid_sample
from scratchnet.resampling.interpolate import interpolate, upsample, upsample_bilinear, upsample_nearest
from scratchnet.resampling.pixel_shuffle import (
    channel_shuffle,
    native_channel_shuffle,
    pixel_shuffle,
    pixel_unshuffle,
)
from scratchnet.similarity.cdist import cdist
from scratchnet.similarity.cosine_similarity import cosine_similarity
from scratchnet.similarity.distance import pairwise_distance
from scratchnet.similarity.kernels import linear_kernel, polynomial_kernel, rbf_kernel
from scratchnet.similarity.pdist import pdist

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_with_indices",
    "affine_grid",
    "alpha_dropout",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cdist",
    "celu",
    "celu_",
    "channel_shuffle",
    "conv1d",
    "conv2d",
    "conv2d_relu",
    "conv2d_relu_max_pool2d",
    "conv3d",
    "conv_tbc",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "ctc_loss",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "elu_",
    "embedding",
    "embedding_bag",
    "feature_alpha_dropout",
    "fold",
    "fractional_max_pool2d",
    "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "grid_sample",
    "group_norm",
    "grouped_mm",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "hinge_embedding_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "leaky_relu_",
    "learned_elu",
    "linear",
    "linear_cross_entropy",
    "linear_kernel",
    "local_response_norm",
    "log_softmax",
    "logsigmoid",
    "logsumexp",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "max_pool3d_with_indices",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "maxout",
    "mish",
    "mse_loss",
    "multi_head_attention_forward",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "native_channel_shuffle",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pairwise_distance",
    "pdist",
    "pixel_shuffle",
    "pixel_unshuffle",
    "poisson_nll_loss",
    "polynomial_kernel",
    "prelu",
    "rbf_kernel",
    "relu",
    "relu6",
    "relu_",
    "rms_norm",
    "rrelu",
    "rrelu_",
    "scaled_dot_product_attention",
    "scaled_mm",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "swiglu",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    "unfold",
    "upsample",
    "upsample_bilinear",
    "upsample_nearest",
    "weight_norm",
]
