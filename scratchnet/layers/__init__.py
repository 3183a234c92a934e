"""Layers: linear, dropout, and rooms of their own for normalization and pooling."""

from scratchnet.distance import pairwise_distance
from scratchnet.layers.alpha_dropout import alpha_dropout, feature_alpha_dropout
from scratchnet.layers.attention import scaled_dot_product_attention
from scratchnet.layers.bilinear import bilinear
from scratchnet.layers.cdist import cdist
from scratchnet.layers.channel_dropout import dropout1d, dropout2d, dropout3d
from scratchnet.layers.cosine_similarity import cosine_similarity
from scratchnet.layers.dropout import dropout
from scratchnet.layers.embedding import embedding
from scratchnet.layers.embedding_bag import embedding_bag
from scratchnet.layers.grid_sample import affine_grid, grid_sample
from scratchnet.layers.grouped_mm import grouped_mm, scaled_mm
from scratchnet.layers.interpolate import interpolate, upsample, upsample_bilinear, upsample_nearest
from scratchnet.layers.kernels import linear_kernel, polynomial_kernel, rbf_kernel
from scratchnet.layers.linear import linear
from scratchnet.layers.multi_head_attention import multi_head_attention_forward
from scratchnet.layers.normalization import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    local_response_norm,
    normalize,
    rms_norm,
    weight_norm,
)
from scratchnet.layers.one_hot import one_hot
from scratchnet.layers.pdist import pdist
from scratchnet.layers.pixel_shuffle import channel_shuffle, native_channel_shuffle, pixel_shuffle, pixel_unshuffle
from scratchnet.layers.pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool1d_with_indices,
    adaptive_max_pool2d,
    adaptive_max_pool2d_with_indices,
    adaptive_max_pool3d,
    adaptive_max_pool3d_with_indices,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    fractional_max_pool2d,
    fractional_max_pool2d_with_indices,
    fractional_max_pool3d,
    fractional_max_pool3d_with_indices,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool1d,
    max_pool1d_with_indices,
    max_pool2d,
    max_pool2d_with_indices,
    max_pool3d,
    max_pool3d_with_indices,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
)

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
    "cdist",
    "channel_shuffle",
    "cosine_similarity",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "embedding",
    "embedding_bag",
    "feature_alpha_dropout",
    "fractional_max_pool2d",
    "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
    "grid_sample",
    "group_norm",
    "grouped_mm",
    "instance_norm",
    "interpolate",
    "layer_norm",
    "linear",
    "linear_kernel",
    "local_response_norm",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "max_pool3d_with_indices",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "multi_head_attention_forward",
    "native_channel_shuffle",
    "normalize",
    "one_hot",
    "pairwise_distance",
    "pdist",
    "pixel_shuffle",
    "pixel_unshuffle",
    "polynomial_kernel",
    "rbf_kernel",
    "rms_norm",
    "scaled_dot_product_attention",
    "scaled_mm",
    "upsample",
    "upsample_bilinear",
    "upsample_nearest",
    "weight_norm",
]
