"""Right Functions with gradients that are deliberately not those of their values, such as quantizers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .entry import equals, normal


def straight_through(values: Tensor, x: Tensor) -> Tensor:
    """The values, with the gradient of x."""
    return x + (values - x).detach()


@equals(torch.round, gradient_of=lambda x: x * 1)
class RoundStraightThrough(Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, grad):
        return grad


@equals(torch.sign, gradient_of=lambda x: x.clamp(-1, 1))
class SignOfBinaryNetworks(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.abs() <= 1)


@equals(lambda x, by: x.clone(), lambda g: (*normal((4, 3))(g), 0.5), gradient_of=lambda x, by: -by * x)
class GradientReversal(Function):
    @staticmethod
    def forward(ctx, x, by):
        ctx.by = by
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return grad.neg() * ctx.by, None


def quantized(x, scale, low, high):
    return (x / scale).round().clamp(low, high) * scale


@equals(
    quantized,
    lambda g: (*normal((4, 3))(g), 0.25, -4, 3),
    gradient_of=lambda x, scale, low, high: x.clamp(scale * (low - 0.5), scale * (high + 0.5)),
)
class FakeQuantize(Function):
    @staticmethod
    def forward(ctx, x, scale, low, high):
        places = (x / scale).round()
        ctx.save_for_backward((places >= low) & (places <= high))
        return places.clamp(low, high) * scale

    @staticmethod
    def backward(ctx, grad):
        (inside,) = ctx.saved_tensors
        return grad * inside, None, None, None


def learned_step(x, s):
    v = (x / s).clamp(-4, 3)
    return straight_through(v.round(), v) * s


@equals(
    lambda x, s: (x / s).clamp(-4, 3).round() * s,
    lambda g: (*normal((4, 3))(g), torch.tensor(0.3, dtype=torch.float64)),
    gradient_of=learned_step,
)
class LearnedStepSize(Function):
    """Esser et al., Learned step size quantization (2020), without the scale of the step's gradient."""

    @staticmethod
    def forward(ctx, x, s):
        ctx.save_for_backward(x, s)
        return (x / s).clamp(-4, 3).round() * s

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, s = ctx.saved_tensors
        v = x / s
        inside = (v >= -4) & (v <= 3)
        of_s = torch.where(inside, v.round() - v, v.clamp(-4, 3))
        return grad * inside, (grad * of_s).sum()


def one_hot(x):
    return torch.zeros_like(x).scatter(-1, x.argmax(-1, keepdim=True), 1.0)


@equals(one_hot, gradient_of=lambda x: x.softmax(-1))
class ArgmaxStraightThrough(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x.softmax(-1))
        return one_hot(x)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (p,) = ctx.saved_tensors
        return p * (grad - (grad * p).sum(-1, keepdim=True))


def fast_sigmoid(x, at):
    return (x - at) / (10 * (x - at).abs() + 1)


@equals(
    lambda x, at: (x > at).to(x.dtype),
    lambda g: (*normal((4, 3))(g), 0.1),
    gradient_of=fast_sigmoid,
)
class Spike(Function):
    """A spiking neuron with the slope of the fast sigmoid."""

    @staticmethod
    def forward(ctx, x, at):
        ctx.save_for_backward(x)
        ctx.at = at
        return (x > at).to(x.dtype)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad / (10 * (x - ctx.at).abs() + 1) ** 2, None
