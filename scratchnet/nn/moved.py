"""Where modules stood before they derived from torch's, for pickles that name them there."""

from __future__ import annotations

import sys
from types import ModuleType

from scratchnet.nn import modules

__all__ = ["MOVED"]

MOVED = {
    "scratchnet.activations.elu": "CELU ELU SELU",
    "scratchnet.activations.gated": "GLU Mish SiLU",
    "scratchnet.activations.gelu": "GELU",
    "scratchnet.activations.hard": "Hardsigmoid Hardswish",
    "scratchnet.activations.hardtanh": "Hardtanh ReLU6",
    "scratchnet.activations.learned": "LearnedELU PReLU",
    "scratchnet.activations.maxout": "Maxout",
    "scratchnet.activations.relu": "LeakyReLU ReLU",
    "scratchnet.activations.rrelu": "RReLU",
    "scratchnet.activations.shrink": "Hardshrink Softshrink Tanhshrink",
    "scratchnet.activations.sigmoid": "Sigmoid",
    "scratchnet.activations.softmax": "LogSoftmax Softmax Softmax2d",
    "scratchnet.activations.softmin": "Softmin",
    "scratchnet.activations.softplus": "LogSigmoid Softplus",
    "scratchnet.activations.softsign": "Softsign",
    "scratchnet.activations.tanh": "Tanh",
    "scratchnet.activations.threshold": "Threshold",
    "scratchnet.convolution.modules": "Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d",
    "scratchnet.convolution.padding_modules": (
        "CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d "
        "ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d "
        "ReplicationPad3d ZeroPad1d ZeroPad2d ZeroPad3d"
    ),
    "scratchnet.convolution.unfolding": "Fold Unfold",
    "scratchnet.distance": "PairwiseDistance",
    "scratchnet.fused.sequential": "Sequential",
    "scratchnet.layers.alpha_dropout": "AlphaDropout FeatureAlphaDropout",
    "scratchnet.layers.bilinear": "Bilinear",
    "scratchnet.layers.channel_dropout": "Dropout1d Dropout2d Dropout3d",
    "scratchnet.layers.cosine_similarity": "CosineSimilarity",
    "scratchnet.layers.dropout": "Dropout",
    "scratchnet.layers.embedding": "Embedding",
    "scratchnet.layers.embedding_bag": "EmbeddingBag",
    "scratchnet.layers.interpolate": "Upsample UpsamplingBilinear2d UpsamplingNearest2d",
    "scratchnet.layers.kernel_machine": "KernelSVM LinearSVM",
    "scratchnet.layers.linear": "Linear",
    "scratchnet.layers.multihead_attention": "MultiheadAttention NonDynamicallyQuantizableLinear",
    "scratchnet.layers.normalization.batch_norm": "BatchNorm1d BatchNorm2d BatchNorm3d",
    "scratchnet.layers.normalization.group_norm": "GroupNorm",
    "scratchnet.layers.normalization.instance_norm": "InstanceNorm1d InstanceNorm2d InstanceNorm3d",
    "scratchnet.layers.normalization.layer_norm": "LayerNorm",
    "scratchnet.layers.normalization.response_norm": "LocalResponseNorm",
    "scratchnet.layers.normalization.rms_norm": "RMSNorm",
    "scratchnet.layers.pixel_shuffle": "ChannelShuffle PixelShuffle PixelUnshuffle",
    "scratchnet.layers.pooling.adaptive_pooling": (
        "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d "
        "AdaptiveMaxPool3d"
    ),
    "scratchnet.layers.pooling.average_pooling": "AvgPool1d AvgPool2d AvgPool3d",
    "scratchnet.layers.pooling.fractional_pooling": "FractionalMaxPool2d FractionalMaxPool3d",
    "scratchnet.layers.pooling.lp_pooling": "LPPool1d LPPool2d LPPool3d",
    "scratchnet.layers.pooling.max_pooling": "MaxPool1d MaxPool2d MaxPool3d",
    "scratchnet.layers.pooling.unpooling": "MaxUnpool1d MaxUnpool2d MaxUnpool3d",
    "scratchnet.losses.binary": "BCELoss BCEWithLogitsLoss",
    "scratchnet.losses.cosine": "CosineEmbeddingLoss",
    "scratchnet.losses.cross_entropy": "CrossEntropyLoss",
    "scratchnet.losses.ctc": "CTCLoss",
    "scratchnet.losses.divergence": "KLDivLoss",
    "scratchnet.losses.huber": "HuberLoss SmoothL1Loss",
    "scratchnet.losses.likelihood": "GaussianNLLLoss PoissonNLLLoss",
    "scratchnet.losses.linear_cross_entropy": "LinearCrossEntropyLoss",
    "scratchnet.losses.margin": "MultiMarginLoss",
    "scratchnet.losses.multilabel": "MultiLabelMarginLoss MultiLabelSoftMarginLoss",
    "scratchnet.losses.nll": "NLLLoss",
    "scratchnet.losses.regression": "L1Loss MSELoss",
    "scratchnet.losses.signed": "HingeEmbeddingLoss MarginRankingLoss SoftMarginLoss",
    "scratchnet.losses.triplet": "TripletMarginLoss TripletMarginWithDistanceLoss",
    "scratchnet.recurrent.base": "RNNBase",
    "scratchnet.recurrent.cells": "GRUCell LSTMCell RNNCell RNNCellBase",
    "scratchnet.recurrent.networks": "GRU LSTM RNN",
    "scratchnet.transformer.layers": "TransformerDecoderLayer TransformerEncoderLayer",
    "scratchnet.transformer.transformer": "Transformer TransformerDecoder TransformerEncoder",
}

for place, names in MOVED.items():
    package = place.rpartition(".")[0]
    for path in (package, place):
        sys.modules.setdefault(path, ModuleType(path))
    for name in names.split():
        setattr(sys.modules[place], name, getattr(modules, name))
