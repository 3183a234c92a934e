"""Activation functions, one idea per file."""

from scratchnet.activations.elu import celu, celu_, elu, elu_, selu, selu_
from scratchnet.activations.gated import glu, mish, silu
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

__all__ = [
    "celu",
    "celu_",
    "elu",
    "elu_",
    "gelu",
    "glu",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "leaky_relu",
    "leaky_relu_",
    "learned_elu",
    "log_softmax",
    "logsigmoid",
    "logsumexp",
    "maxout",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "rrelu",
    "rrelu_",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
]
