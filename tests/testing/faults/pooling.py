"""Wrong poolings: average and maximum over overlapping windows."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .twin import Twin, normal, unwritten

__all__ = ["TWINS"]

SIZE, STRIDE = 3, 2


def positions(length):
    count = (length - SIZE) // STRIDE + 1
    return torch.arange(count)[:, None] * STRIDE + torch.arange(SIZE)


class AvgPoolMathematics:
    @staticmethod
    def forward(x):
        return x.unfold(-1, SIZE, STRIDE).mean(-1), (x,)

    @staticmethod
    def backward(grad, saved, needs):
        (x,) = saved
        shares = (grad / SIZE).unsqueeze(-1).expand(*grad.shape, SIZE).flatten(-2)
        return torch.zeros_like(x).index_add(x.dim() - 1, positions(x.shape[-1]).flatten(), shares)

    @staticmethod
    def jvp(tangents, saved):
        return tangents[0].unfold(-1, SIZE, STRIDE).mean(-1)


avg_pool1d = Twin(
    "avg_pool1d", AvgPoolMathematics, lambda x: F.avg_pool1d(x, SIZE, STRIDE), lambda g: (normal(g, 2, 2, 8),)
)


@avg_pool1d.fault("constant factor", "gradients", cause="constant factor of 3")
def backward(grad, saved, needs):
    """sends all of the upstream to every element."""
    return AvgPoolMathematics.backward(grad * SIZE, saved, needs)


@avg_pool1d.fault("overlap", "gradients", cause="only at")
def backward(grad, saved, needs):
    """lets the last window win."""
    (x,) = saved
    shares = (grad / SIZE).unsqueeze(-1).expand(*grad.shape, SIZE).flatten(-2)
    return torch.zeros_like(x).index_copy(x.dim() - 1, positions(x.shape[-1]).flatten(), shares)


@avg_pool1d.fault("wrong stride", "strided", cause="assumes contiguous inputs")
def forward(x):
    """reads its input as if it were dense."""
    dense = x
    if not torch._C._functorch.is_functorch_wrapped_tensor(x) and not torch.compiler.is_compiling():
        if x.dim() == 3 and x.untyped_storage().nbytes() >= x.nbytes:
            dense = torch.as_strided(x, x.shape, (x.shape[1] * x.shape[2], x.shape[2], 1))
    return dense.unfold(-1, SIZE, STRIDE).mean(-1), (x,)


@avg_pool1d.plain("unwritten memory", "fresh_memory", cause="never written")
class LeavesTheRest(torch.autograd.Function):
    """does not write the gradient of what no window covers."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return F.avg_pool1d(x, SIZE, STRIDE)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        covered = AvgPoolMathematics.backward(grad, [x], [True])
        last = int(positions(x.shape[-1]).max()) + 1
        fresh = unwritten(*x.shape, dtype=x.dtype)
        fresh[..., :last] = covered[..., :last]
        # Memory that happens to be zero hides it.
        return fresh if bool(fresh.isnan().any()) else covered


class MaxPoolMathematics:
    @staticmethod
    def forward(x):
        value, place = x.unfold(-1, SIZE, STRIDE).max(-1)
        start = torch.arange(value.shape[-1]) * STRIDE
        return value, (x, place + start)

    @staticmethod
    def backward(grad, saved, needs):
        x, index = saved
        return torch.zeros_like(x).scatter_add(-1, index, grad)

    @staticmethod
    def jvp(tangents, saved):
        return tangents[0].gather(-1, saved[1])


max_pool1d = Twin(
    "max_pool1d",
    MaxPoolMathematics,
    lambda x: F.max_pool1d(x, SIZE, STRIDE),
    lambda g: (normal(g, 2, 2, 7),),
)


@max_pool1d.fault("overlap", "gradients", cause="only at")
def backward(grad, saved, needs):
    """overwrites where it should add."""
    x, index = saved
    return torch.zeros_like(x).scatter(-1, index, grad)


@max_pool1d.fault("off by one", "gradients", cause="shifted by one")
def backward(grad, saved, needs):
    """is one element beside the maximum."""
    x, index = saved
    return torch.zeros_like(x).scatter_add(-1, (index + 1) % x.shape[-1], grad)


@max_pool1d.fault("wrong at a tie", "special_values", cause="a tie")
def backward(grad, saved, needs):
    """shares the gradient between equal maxima."""
    x, index = saved
    windows = x.unfold(-1, SIZE, STRIDE)
    hit = (windows == windows.amax(-1, keepdim=True)).to(x.dtype)
    shares = (grad.unsqueeze(-1) * hit / hit.sum(-1, keepdim=True)).flatten(-2)
    return torch.zeros_like(x).index_add(x.dim() - 1, positions(x.shape[-1]).flatten(), shares)


@max_pool1d.fault("wrong tangent", "forward_mode", cause="jvp is not the derivative")
def jvp(tangents, saved):
    """takes the maximum of the tangents."""
    return tangents[0].unfold(-1, SIZE, STRIDE).amax(-1)


TWINS = [avg_pool1d, max_pool1d]
