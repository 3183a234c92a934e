"""Activation functions, one idea per file."""

from scratchnet.activations.elu import CELU, ELU, SELU, celu, celu_, elu, elu_, selu, selu_
from scratchnet.activations.gated import GLU, Mish, SiLU, glu, mish, silu
from scratchnet.activations.gelu import GELU, gelu
from scratchnet.activations.gumbel import gumbel_softmax
from scratchnet.activations.hard import Hardsigmoid, Hardswish, hardsigmoid, hardswish
from scratchnet.activations.hardtanh import Hardtanh, ReLU6, hardtanh, hardtanh_, relu6
from scratchnet.activations.learned import LearnedELU, PReLU, learned_elu, prelu
from scratchnet.activations.logsumexp import logsumexp
from scratchnet.activations.maxout import Maxout, maxout
from scratchnet.activations.relu import LeakyReLU, ReLU, leaky_relu, leaky_relu_, relu, relu_
from scratchnet.activations.rrelu import RReLU, rrelu, rrelu_
from scratchnet.activations.shrink import Hardshrink, Softshrink, Tanhshrink, hardshrink, softshrink, tanhshrink
from scratchnet.activations.sigmoid import Sigmoid, sigmoid
from scratchnet.activations.softmax import LogSoftmax, Softmax, Softmax2d, log_softmax, softmax
from scratchnet.activations.softmin import Softmin, softmin
from scratchnet.activations.softplus import LogSigmoid, Softplus, logsigmoid, softplus
from scratchnet.activations.softsign import Softsign, softsign
from scratchnet.activations.tanh import Tanh, tanh
from scratchnet.activations.threshold import Threshold, threshold, threshold_

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LearnedELU",
    "LogSigmoid",
    "LogSoftmax",
    "Maxout",
    "Mish",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SELU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
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
