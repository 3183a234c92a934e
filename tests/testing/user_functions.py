"""Functions of a user, as people write them."""

import torch
from torch import nn


class Tanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * (1 - y * y)


class Twice(Tanh):
    @staticmethod
    def backward(ctx, grad):
        return 2 * Tanh.backward(ctx, grad)


class Affine(nn.Module):
    def __init__(self, in_features, out_features, bias=True):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(out_features, in_features))
        self.b = nn.Parameter(torch.zeros(out_features)) if bias else None

    def forward(self, x):
        return x @ self.w.mT if self.b is None else x @ self.w.mT + self.b


def single(x):
    if x.dtype is not torch.float32:
        raise TypeError("float32 alone")
    return torch.relu(x)


class Single(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        if x.dtype is not torch.float32:
            raise TypeError("float32 alone")
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * x.cos()


class SingleAndWrong(Single):
    @staticmethod
    def backward(ctx, grad):
        return -Single.backward(ctx, grad)


def chosen(scores, target, reduction="mean"):
    losses = scores.logsumexp(1) - scores.gather(1, target[:, None]).squeeze(1)
    return losses.mean() if reduction == "mean" else losses.sum()


def dtypes(x, dtypes):
    return x * dtypes


ops = type("O", (), {})()
setattr(ops, "[/red]", torch.relu)
