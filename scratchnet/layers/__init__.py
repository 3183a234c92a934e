"""Layers: linear, pooling, dropout and batch normalization, one idea per file."""

from scratchnet.layers.attention import scaled_dot_product_attention
from scratchnet.layers.average_pooling import AvgPool1d, AvgPool2d, AvgPool3d, avg_pool1d, avg_pool2d, avg_pool3d
from scratchnet.layers.batch_norm import BatchNorm1d, BatchNorm2d
from scratchnet.layers.bilinear import Bilinear, bilinear
from scratchnet.layers.cosine_similarity import CosineSimilarity, cosine_similarity
from scratchnet.layers.distance import PairwiseDistance, pairwise_distance, pdist
from scratchnet.layers.dropout import Dropout, dropout
from scratchnet.layers.embedding import Embedding, embedding
from scratchnet.layers.embedding_bag import EmbeddingBag, embedding_bag
from scratchnet.layers.interpolate import (
    Upsample,
    UpsamplingBilinear2d,
    UpsamplingNearest2d,
    interpolate,
    upsample,
    upsample_bilinear,
    upsample_nearest,
)
from scratchnet.layers.kernel_machine import KernelSVM, LinearSVM, linear_kernel, polynomial_kernel, rbf_kernel
from scratchnet.layers.layer_norm import LayerNorm
from scratchnet.layers.linear import Linear, linear
from scratchnet.layers.max_pooling import MaxPool1d, MaxPool2d, MaxPool3d, max_pool1d, max_pool2d, max_pool3d
from scratchnet.layers.multi_head_attention import multi_head_attention_forward
from scratchnet.layers.multihead_attention import MultiheadAttention
from scratchnet.layers.normalization import batch_norm
from scratchnet.layers.one_hot import one_hot
from scratchnet.layers.pixel_shuffle import (
    ChannelShuffle,
    PixelShuffle,
    PixelUnshuffle,
    channel_shuffle,
    pixel_shuffle,
    pixel_unshuffle,
)

__all__ = [
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Bilinear",
    "ChannelShuffle",
    "CosineSimilarity",
    "Dropout",
    "Embedding",
    "EmbeddingBag",
    "KernelSVM",
    "LayerNorm",
    "Linear",
    "LinearSVM",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MultiheadAttention",
    "PairwiseDistance",
    "PixelShuffle",
    "PixelUnshuffle",
    "Upsample",
    "UpsamplingBilinear2d",
    "UpsamplingNearest2d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "bilinear",
    "channel_shuffle",
    "cosine_similarity",
    "dropout",
    "embedding",
    "embedding_bag",
    "interpolate",
    "linear",
    "linear_kernel",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "multi_head_attention_forward",
    "one_hot",
    "pairwise_distance",
    "pdist",
    "pixel_shuffle",
    "pixel_unshuffle",
    "polynomial_kernel",
    "rbf_kernel",
    "scaled_dot_product_attention",
    "upsample",
    "upsample_bilinear",
    "upsample_nearest",
]
