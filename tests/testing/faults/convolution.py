"""Wrong convolutions, and what they are made of: a linear layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .twin import Twin, normal, unwritten

__all__ = ["TWINS"]

STRIDE, PADDING = 2, 1


def columns(x, size):
    padded = F.pad(x, (PADDING, PADDING))
    return padded.unfold(-1, size, STRIDE)


class Conv1dMathematics:
    autocast = "low_precision"
    native_low_precision = True

    @staticmethod
    def forward(x, weight, bias):
        y = torch.einsum("nclk,ock->nol", columns(x, weight.shape[-1]), weight) + bias[:, None]
        return y, (x, weight)

    @staticmethod
    def backward(grad, saved, needs):
        x, weight = saved
        grad_x = Conv1dMathematics.scattered(torch.einsum("nol,ock->nclk", grad, weight), x.shape[-1])
        grad_weight = torch.einsum("nol,nclk->ock", grad, columns(x, weight.shape[-1]))
        grad_bias = grad.sum((0, 2))
        return grad_x, grad_weight, grad_bias

    @staticmethod
    def scattered(patches, length):
        positions, size = patches.shape[-2:]
        index = (torch.arange(positions)[:, None] * STRIDE + torch.arange(size)).flatten()
        zeros = patches.new_zeros(*patches.shape[:2], length + 2 * PADDING)
        return zeros.index_add(2, index, patches.flatten(2))[..., PADDING : PADDING + length]

    @staticmethod
    def jvp(tangents, saved):
        x, weight = saved
        k = weight.shape[-1]
        tangent = torch.einsum("nclk,ock->nol", columns(tangents[0], k), weight)
        return tangent + torch.einsum("nclk,ock->nol", columns(x, k), tangents[1]) + tangents[2][:, None]


conv1d = Twin(
    "conv1d",
    Conv1dMathematics,
    lambda x, w, b: F.conv1d(x, w, b, stride=STRIDE, padding=PADDING),
    lambda g: (normal(g, 2, 2, 7), normal(g, 3, 2, 3), normal(g, 3)),
)


@conv1d.fault("off by one", "gradients", cause="wrong index")
def backward(grad, saved, needs):
    """cuts the padding off the wrong end."""
    x, weight = saved
    rest = Conv1dMathematics.backward(grad, saved, needs)[1:]
    patches = torch.einsum("nol,ock->nclk", grad, weight)
    padded = F.pad(Conv1dMathematics.scattered(patches, x.shape[-1] + 2 * PADDING), (PADDING, 0))
    return padded[..., PADDING + 1 : PADDING + 1 + x.shape[-1]], *rest


@conv1d.fault("dropped edge", "gradients", cause="only at")
def backward(grad, saved, needs):
    """forgets the last window."""
    kept = torch.cat([grad[..., :-1], torch.zeros_like(grad[..., -1:])], -1)
    grad_x, _, _ = Conv1dMathematics.backward(kept, saved, needs)
    return grad_x, *Conv1dMathematics.backward(grad, saved, needs)[1:]


@conv1d.fault("transposed weight", "gradients", cause="flipped along dimension 2")
def backward(grad, saved, needs):
    """turns the kernel round."""
    x, weight = saved
    grad_x, _, _ = Conv1dMathematics.backward(grad, [x, weight.flip(-1)], needs)
    return grad_x, *Conv1dMathematics.backward(grad, saved, needs)[1:]


@conv1d.fault("broadcast reduction", "gradients", cause="a term or factor")
def backward(grad, saved, needs):
    """sums the bias over the batch and takes one position only."""
    return *Conv1dMathematics.backward(grad, saved, needs)[:2], grad.sum(0)[:, 0]


@conv1d.fault("overlap", "gradients", cause="only at")
def backward(grad, saved, needs):
    """lets overlapping windows overwrite each other."""
    x, weight = saved
    patches = torch.einsum("nol,ock->nclk", grad, weight)
    positions, size = patches.shape[-2:]
    index = (torch.arange(positions)[:, None] * STRIDE + torch.arange(size)).flatten()
    zeros = patches.new_zeros(*patches.shape[:2], x.shape[-1] + 2 * PADDING)
    last = zeros.index_copy(2, index, patches.flatten(2))[..., PADDING : PADDING + x.shape[-1]]
    return last, *Conv1dMathematics.backward(grad, saved, needs)[1:]


@conv1d.fault("unwritten memory", "fresh_memory", cause="never written")
def forward(x, weight, bias):
    """leaves the padding of its buffer unwritten."""
    if torch.compiler.is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(x) or not x.numel():
        return Conv1dMathematics.forward(x, weight, bias)
    padded = unwritten(*x.shape[:2], x.shape[-1] + 2 * PADDING, dtype=x.dtype)
    padded[..., PADDING:-PADDING] = x.detach()
    # Memory that happens to be zero hides it.
    ours = padded if bool(padded[..., 0].isnan().any()) else F.pad(x, (PADDING, PADDING))
    y = torch.einsum("nclk,ock->nol", ours.unfold(-1, weight.shape[-1], STRIDE), weight) + bias[:, None]
    return y, (x, weight)


class LinearMathematics:
    autocast = "low_precision"
    native_low_precision = True

    @staticmethod
    def forward(x, weight):
        return x @ weight.mT, (x, weight)

    @staticmethod
    def backward(grad, saved, needs):
        x, weight = saved
        return grad @ weight, grad.mT @ x

    @staticmethod
    def jvp(tangents, saved):
        x, weight = saved
        return tangents[0] @ weight.mT + x @ tangents[1].mT


linear = Twin("linear", LinearMathematics, lambda x, w: x @ w.mT, lambda g: (normal(g, 5, 3), normal(g, 3, 3)))


@linear.fault("transposed weight", "gradients", cause="input 1 transposed")
def backward(grad, saved, needs):
    """multiplies by the weight's transpose."""
    x, weight = saved
    return grad @ weight.mT, grad.mT @ x


@linear.fault("transposed weight", "gradients", cause="is transposed")
def backward(grad, saved, needs):
    """returns the transpose of the weight's gradient."""
    x, weight = saved
    return grad @ weight, x.mT @ grad


@linear.fault("missing tangent term", "forward_mode", cause="jvp is not the derivative")
def jvp(tangents, saved):
    """takes the weight for a constant in forward mode."""
    return tangents[0] @ saved[1].mT


@linear.fault("constant intermediate", "double_backward", cause="taken for a constant")
def backward(grad, saved, needs):
    """detaches the weight."""
    x, weight = saved
    return grad @ weight.detach(), grad.mT @ x


@linear.plain("repeated calls", "deterministic", cause="from call to call")
class Drifts(torch.autograd.Function):
    """adds a rounding error that grows from call to call."""

    calls = 0

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        Drifts.calls += 1
        return x @ weight.mT * (1 + 3e-16 * (Drifts.calls % 7))

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        return grad @ weight, grad.mT @ x


@linear.plain("leak", "leaks", cause="in a list that grows")
class Collects(torch.autograd.Function):
    """keeps every input in a list."""

    seen: list[torch.Tensor] = []

    @staticmethod
    def forward(ctx, x, weight):
        Collects.seen.append(x.detach())
        ctx.save_for_backward(x, weight)
        return x @ weight.mT

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        return grad @ weight, grad.mT @ x


TWINS = [conv1d, linear]
