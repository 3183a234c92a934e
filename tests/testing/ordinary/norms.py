"""Right norms: layer, RMS, group, batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .entry import equals, normal


@equals(lambda x, w, b: F.layer_norm(x, (6,), w, b), normal((4, 6), (6,), (6,)))
class LayerNorm(Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        mean = x.mean(-1, keepdim=True)
        scale = (x.var(-1, unbiased=False, keepdim=True) + 1e-5).rsqrt()
        z = (x - mean) * scale
        ctx.save_for_backward(z, scale, weight)
        return z * weight + bias

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        z, scale, weight = ctx.saved_tensors
        g = grad * weight
        grad_x = scale * (g - g.mean(-1, keepdim=True) - z * (g * z).mean(-1, keepdim=True))
        return grad_x, (grad * z).sum(0), grad.sum(0)


@equals(lambda x, w: F.rms_norm(x, (6,), w, 1e-6), normal((4, 6), (6,)))
class RMSNorm(Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return x * (x.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt() * weight

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        r = (x.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt()
        g = grad * weight
        return r * g - x * r**3 * (g * x).mean(-1, keepdim=True), (grad * x * r).sum(0)


@equals(lambda x, w, b: F.group_norm(x, 2, w, b), normal((2, 4, 3), (4,), (4,)))
class GroupNorm(Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        g = x.reshape(len(x), 2, -1)
        centered = g - g.mean(-1, keepdim=True)
        scale = (centered.square().mean(-1, keepdim=True) + 1e-5).rsqrt()
        ctx.save_for_backward((centered * scale).reshape(x.shape), scale, weight)
        return (centered * scale).reshape(x.shape) * weight[:, None] + bias[:, None]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        z, scale, weight = ctx.saved_tensors
        g, n = ((t).reshape(len(z), 2, -1) for t in (grad * weight[:, None], z))
        of_x = scale * (g - g.mean(-1, keepdim=True) - n * (g * n).mean(-1, keepdim=True))
        return of_x.reshape(z.shape), (grad * z).sum((0, 2)), grad.sum((0, 2))


@equals(
    lambda x, w, b, mean, var: F.batch_norm(x, mean, var, w, b, training=True),
    lambda g: (
        *(x.requires_grad_() for x in normal((6, 3), (3,), (3,))(g)),
        torch.zeros(3).double(),
        torch.ones(3).double(),
    ),
)
class BatchNorm(Function):
    """Updates its running statistics in place."""

    @staticmethod
    def forward(ctx, x, weight, bias, running_mean, running_var):
        mean, var = x.mean(0), x.var(0, unbiased=False)
        if len(x):
            running_mean.mul_(0.9).add_(0.1 * mean)
            running_var.mul_(0.9).add_(0.1 * var * len(x) / (len(x) - 1))
        scale = (var + 1e-5).rsqrt()
        z = (x - mean) * scale
        ctx.save_for_backward(z, scale, weight)
        return z * weight + bias

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        z, scale, weight = ctx.saved_tensors
        g = grad * weight
        return scale * (g - g.mean(0) - z * (g * z).mean(0)), (grad * z).sum(0), grad.sum(0), None, None


@equals(lambda x: F.normalize(x, dim=-1), normal((4, 5)))
class Normalize(Function):
    @staticmethod
    def forward(ctx, x):
        n = x.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        y = x / n
        ctx.save_for_backward(y, n)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        y, n = ctx.saved_tensors
        return (grad - y * (grad * y).sum(-1, keepdim=True)) / n
