"""Wrong normalisations: layer norm and batch norm."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .twin import Twin, normal

__all__ = ["TWINS"]

EPS = 1e-5


def standardised(x, dim):
    centred = x - x.mean(dim, keepdim=True)
    scale = (centred.square().mean(dim, keepdim=True) + EPS).rsqrt()
    return centred * scale, scale


def pulled(grad, x, dim):
    """The adjoint of standardising: without its mean, and without its part along the output."""
    n, scale = standardised(x, dim)
    return scale * (grad - grad.mean(dim, keepdim=True) - n * (grad * n).mean(dim, keepdim=True))


def mathematics(dim, over):
    class Mathematics:
        @staticmethod
        def forward(x, weight, bias):
            return standardised(x, dim)[0] * weight + bias, (x, weight)

        @staticmethod
        def backward(grad, saved, needs):
            x, weight = saved
            grad_x = pulled(grad * weight, x, dim)
            grad_weight = (grad * standardised(x, dim)[0]).sum(over)
            return grad_x, grad_weight, grad.sum(over)

        @staticmethod
        def jvp(tangents, saved):
            x, weight = saved
            return pulled(tangents[0], x, dim) * weight + standardised(x, dim)[0] * tangents[1] + tangents[2]

    return Mathematics


def sample(g):
    return normal(g, 4, 3), normal(g, 3), normal(g, 3)


LayerNormMathematics, BatchNormMathematics = mathematics(-1, 0), mathematics(0, 0)
layer_norm = Twin(
    "layer_norm", LayerNormMathematics, lambda x, w, b: F.layer_norm(x, (x.shape[-1],), w, b, EPS), sample
)
batch_norm = Twin("batch_norm", BatchNormMathematics, lambda x, w, b: standardised(x, 0)[0] * w + b, sample)


@layer_norm.fault("missing term", "gradients", cause="a term or factor")
def backward(grad, saved, needs):
    """takes the variance for a constant."""
    x, weight = saved
    g = grad * weight
    _, scale = standardised(x, -1)
    rest = LayerNormMathematics.backward(grad, saved, needs)[1:]
    return scale * (g - g.mean(-1, keepdim=True)), *rest


@layer_norm.fault("missing factor", "gradients", cause="a term or factor")
def backward(grad, saved, needs):
    """forgets the weight on the way to the input."""
    rest = LayerNormMathematics.backward(grad, saved, needs)[1:]
    return pulled(grad, saved[0], -1), *rest


@layer_norm.fault("constant intermediate", "double_backward", cause="taken for a constant")
def backward(grad, saved, needs):
    """detaches its statistics."""
    x, weight = saved
    n, scale = (t.detach() for t in standardised(x, -1))
    g = grad * weight
    grad_x = scale * (g - g.mean(-1, keepdim=True) - n * (g * n).mean(-1, keepdim=True))
    return grad_x, *LayerNormMathematics.backward(grad, saved, needs)[1:]


@layer_norm.fault("biased variance", "output", cause="a term or factor")
def forward(x, weight, bias):
    """divides the variance by n − 1."""
    centred = x - x.mean(-1, keepdim=True)
    return centred * (x.var(-1, keepdim=True) + EPS).rsqrt() * weight + bias, (x, weight)


@layer_norm.fault("unstable", "special_values", cause="digits are lost")
def forward(x, weight, bias):
    """finds the variance as the difference of two squares."""
    mean = x.mean(-1, keepdim=True)
    variance = x.square().mean(-1, keepdim=True) - mean.square()
    return (x - mean) * (variance + EPS).rsqrt() * weight + bias, (x, weight)


@batch_norm.fault("missing term", "gradients", cause="constant along dimension 0")
def backward(grad, saved, needs):
    """leaves out the mean of the upstream."""
    x, weight = saved
    n, scale = standardised(x, 0)
    g = grad * weight
    rest = BatchNormMathematics.backward(grad, saved, needs)[1:]
    return scale * (g - n * (g * n).mean(0)), *rest


@batch_norm.fault("wrong dimension", "gradients", cause="wrong dimension")
def backward(grad, saved, needs):
    """averages over the features instead of the batch."""
    x, weight = saved
    return pulled(grad * weight, x, -1), *BatchNormMathematics.backward(grad, saved, needs)[1:]


@batch_norm.fault("broadcast reduction", "gradients", cause="summed over dimension 0")
def backward(grad, saved, needs):
    """sums its bias over the features too."""
    grad_x, grad_weight, grad_bias = BatchNormMathematics.backward(grad, saved, needs)
    return grad_x, grad_weight, grad_bias.sum().expand_as(grad_bias)


@batch_norm.fault("compiled otherwise", "compile", cause="another path under torch.compile")
def forward(x, weight, bias):
    """forgets its bias under torch.compile."""
    y = standardised(x, 0)[0] * weight
    return (y if torch.compiler.is_compiling() else y + bias), (x, weight)


TWINS = [layer_norm, batch_norm]
