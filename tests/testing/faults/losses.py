"""Wrong losses: mean squared error and cross-entropy."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .twin import Twin, normal

__all__ = ["TWINS"]


class MSEMathematics:
    @staticmethod
    def forward(x, target):
        return (x - target).square().mean(), (x, target)

    @staticmethod
    def backward(grad, saved, needs):
        x, target = saved
        grad_x = grad * 2 * (x - target) / x.numel()
        return grad_x, -grad_x

    @staticmethod
    def jvp(tangents, saved):
        x, target = saved
        return (2 * (x - target) * (tangents[0] - tangents[1])).sum() / x.numel()


mse_loss = Twin("mse_loss", MSEMathematics, F.mse_loss, lambda g: (normal(g, 5, 3), normal(g, 5, 3)))


@mse_loss.fault("factor of batch size", "gradients", cause="a mean taken for a sum")
def backward(grad, saved, needs):
    """divides by the batch alone."""
    x, target = saved
    grad_x = grad * 2 * (x - target) / len(x)
    return grad_x, -grad_x


@mse_loss.fault("constant factor", "gradients", cause="factor of 0.5")
def backward(grad, saved, needs):
    """forgets the 2 of the square."""
    x, target = saved
    grad_x = grad * (x - target) / x.numel()
    return grad_x, -grad_x


@mse_loss.fault("sign", "gradients", cause="wrong sign")
def backward(grad, saved, needs):
    """gives the target the gradient of the input."""
    x, target = saved
    grad_x = grad * 2 * (x - target) / x.numel()
    return grad_x, grad_x


@mse_loss.fault("ignores upstream", "gradients", cause="ignores grad_output")
def backward(grad, saved, needs):
    """takes itself for the end of the graph."""
    x, target = saved
    grad_x = 2 * (x - target) / x.numel()
    return grad_x, -grad_x


@mse_loss.fault("empty input", "empty", cause="no elements")
def forward(x, target):
    """is zero over no elements."""
    return (x - target).square().sum() / max(x.numel(), 1), (x, target)


def log_softmax(x):
    shifted = x - x.amax(-1, keepdim=True)
    return shifted - shifted.exp().sum(-1, keepdim=True).log()


class CrossEntropyMathematics:
    @staticmethod
    def forward(x, labels):
        logs = log_softmax(x)
        return -logs.gather(1, labels.unsqueeze(1)).sum() / len(labels), (x, labels)

    @staticmethod
    def backward(grad, saved, needs):
        x, labels = saved
        hot = torch.zeros_like(x).scatter(1, labels.unsqueeze(1), 1.0)
        return grad * (log_softmax(x).exp() - hot) / len(labels), None

    @staticmethod
    def jvp(tangents, saved):
        x, labels = saved
        hot = torch.zeros_like(x).scatter(1, labels.unsqueeze(1), 1.0)
        return ((log_softmax(x).exp() - hot) * tangents[0]).sum() / len(labels)


cross_entropy = Twin(
    "cross_entropy",
    CrossEntropyMathematics,
    lambda x, labels: F.nll_loss(F.log_softmax(x, 1), labels),
    lambda g: (normal(g, 4, 3), torch.tensor([0, 2, 1, 1])),
)


@cross_entropy.fault("missing term", "gradients", cause="a term or factor")
def backward(grad, saved, needs):
    """leaves out the label."""
    return grad * log_softmax(saved[0]).exp() / len(saved[1]), None


@cross_entropy.fault("factor of batch size", "gradients", cause="the batch size")
def backward(grad, saved, needs):
    """sums in the backward and averages in the forward."""
    return CrossEntropyMathematics.backward(grad, saved, needs)[0] * len(saved[1]), None


@cross_entropy.fault("off by one", "gradients", cause="wrong index")
def backward(grad, saved, needs):
    """takes the label of the next row."""
    return CrossEntropyMathematics.backward(grad, [saved[0], saved[1].roll(1)], needs)


@cross_entropy.fault("unstable", "special_values", cause="logarithm of zero")
def forward(x, labels):
    """takes the logarithm of a softmax that has underflown."""
    e = (x - x.amax(-1, keepdim=True)).exp()
    return -(e / e.sum(-1, keepdim=True)).log().gather(1, labels.unsqueeze(1)).sum() / len(labels), (x, labels)


@cross_entropy.around("autocast", "autocast", cause="under autocast")
def computes_in_bfloat16(x, labels):
    """works in the dtype of autocast, which is too short for it."""
    short = x.bfloat16() if torch.is_autocast_enabled("cpu") else x
    return cross_entropy.apply(short, labels).to(x.dtype)


TWINS = [mse_loss, cross_entropy]
