"""Activation functions, one idea per file."""

from scratchnet.activations.elu import ELU, LearnedELU, elu, learned_elu
from scratchnet.activations.maxout import Maxout, maxout
from scratchnet.activations.relu import LeakyReLU, PReLU, ReLU, leaky_relu, prelu, relu
from scratchnet.activations.sigmoid import Sigmoid, sigmoid
from scratchnet.activations.softmax import LogSoftmax, Softmax, log_softmax, softmax
from scratchnet.activations.tanh import Tanh, tanh

__all__ = [
    "ELU",
    "LeakyReLU",
    "LearnedELU",
    "LogSoftmax",
    "Maxout",
    "PReLU",
    "ReLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "elu",
    "leaky_relu",
    "learned_elu",
    "log_softmax",
    "maxout",
    "prelu",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
]
