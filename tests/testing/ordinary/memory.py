"""Right Functions that save memory: checkpoints, recomputation, saved-tensor hooks, work in place."""

from __future__ import annotations

import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from .entry import equals, normal


def block(x, w):
    return torch.tanh(x @ w)


@equals(block, normal((4, 3), (3, 3)))
class Recomputes(Function):
    """Runs its block again in the backward, with the graph that it left out in the forward."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return block(x, w)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        with torch.enable_grad():
            leaves = [t.detach().requires_grad_() for t in ctx.saved_tensors]
            y = block(*leaves)
        return torch.autograd.grad(y, leaves, grad)


@equals(lambda x: torch.tanh(x).sin())
class CheckpointInside(Function):
    @staticmethod
    def forward(ctx, x):
        with torch.enable_grad():
            ctx.leaf = x.detach().requires_grad_()
            ctx.inner = checkpoint(lambda t: torch.tanh(t).sin(), ctx.leaf, use_reentrant=False)
        return ctx.inner.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        return torch.autograd.grad(ctx.inner, ctx.leaf, grad, retain_graph=True)


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 3 * x * x * grad


@equals(lambda x: x * x * x)
def under_a_checkpoint(x):
    return checkpoint(Cube.apply, x, use_reentrant=False)


@equals(lambda x: x * x * x)
def saved_on_cpu(x):
    with torch.autograd.graph.save_on_cpu():
        return Cube.apply(x)


@equals(lambda x: x * x * x)
def packed_by_hooks(x):
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t):
        return Cube.apply(x)


class ExpInPlace(Function):
    @staticmethod
    def forward(ctx, x):
        x.exp_()
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * y


@equals(lambda x: (x * 1).exp_())
def exp_in_place(x):
    return ExpInPlace.apply(x * 1)


@equals(lambda a, b: (a + b, a - b), normal((4, 3), (4, 3)))
class Reversible(Function):
    """Keeps its outputs, from which it finds its inputs."""

    @staticmethod
    def forward(ctx, a, b):
        return a + b, a - b

    @staticmethod
    def backward(ctx, of_sum, of_difference):
        return of_sum + of_difference, of_sum - of_difference
