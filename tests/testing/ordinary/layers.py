"""Right layers: linear, convolution, pooling, attention, embedding, LSTM."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .entry import equals, normal


@equals(F.linear, normal((4, 3), (5, 3), (5,)))
class Linear(Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return x.mm(weight.t()) + bias

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        grad_x = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_x = grad.mm(weight)
        if ctx.needs_input_grad[1]:
            grad_weight = grad.t().mm(x)
        if ctx.needs_input_grad[2]:
            grad_bias = grad.sum(0)
        return grad_x, grad_weight, grad_bias


@equals(lambda q, k, v: F.scaled_dot_product_attention(q, k, v), normal((2, 4, 3), (2, 5, 3), (2, 5, 3)))
class Attention(Function):
    @staticmethod
    def forward(ctx, q, k, v):
        p = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1)
        ctx.save_for_backward(q, k, v, p)
        return p @ v

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        q, k, v, p = ctx.saved_tensors
        of_p = grad @ v.mT
        of_s = p * (of_p - (of_p * p).sum(-1, keepdim=True)) / math.sqrt(q.shape[-1])
        return of_s @ k, of_s.mT @ q, p.mT @ grad


@equals(lambda x, w: F.conv2d(x, w, padding=1), normal((2, 3, 5, 5), (4, 3, 3, 3)))
class ConvByUnfold(Function):
    @staticmethod
    def forward(ctx, x, w):
        columns = F.unfold(x, 3, padding=1)
        ctx.save_for_backward(columns, w)
        ctx.size = x.shape
        return (w.flatten(1) @ columns).view(x.shape[0], w.shape[0], *x.shape[2:])

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        columns, w = ctx.saved_tensors
        grad = grad.flatten(2)
        of_w = torch.einsum("bop,bkp->ok", grad, columns).view(w.shape)
        return F.fold(w.flatten(1).t() @ grad, ctx.size[2:], 3, padding=1), of_w


@equals(lambda x: F.max_pool2d(x, 2), normal((2, 3, 4, 4)))
class MaxPool(Function):
    @staticmethod
    def forward(ctx, x):
        y, ctx.indices = F.max_pool2d(x, 2, return_indices=True)
        ctx.shape = x.shape
        return y

    @staticmethod
    def backward(ctx, grad):
        flat = torch.zeros(*ctx.shape[:2], ctx.shape[2] * ctx.shape[3], dtype=grad.dtype)
        return flat.scatter_(2, ctx.indices.flatten(2), grad.flatten(2)).view(ctx.shape)


@equals(lambda i, w: F.embedding(i, w), lambda g: (torch.randint(6, (2, 4), generator=g), *normal((6, 3))(g)))
class Embedding(Function):
    @staticmethod
    def forward(ctx, indices, table):
        ctx.save_for_backward(indices)
        ctx.rows = table.shape[0]
        return table[indices]

    @staticmethod
    def backward(ctx, grad):
        (indices,) = ctx.saved_tensors
        flat = grad.reshape(-1, grad.shape[-1])
        return None, torch.zeros(ctx.rows, flat.shape[1], dtype=grad.dtype).index_add(0, indices.reshape(-1), flat)


@equals(lambda h, c, g: cell(h, c, g), normal((2, 3), (2, 3), (2, 12)))
class LSTMGates(Function):
    @staticmethod
    def forward(ctx, h, c, gates):
        i, f, g, o = (gates + torch.cat([h] * 4, 1)).chunk(4, 1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        new = f * c + i * g
        ctx.save_for_backward(i, f, g, o, c, new)
        return o * new.tanh(), new

    @staticmethod
    @once_differentiable
    def backward(ctx, of_h, of_c):
        i, f, g, o, c, new = ctx.saved_tensors
        t = new.tanh()
        of_c = of_c + of_h * o * (1 - t * t)
        parts = (
            of_c * g * i * (1 - i),
            of_c * c * f * (1 - f),
            of_c * i * (1 - g * g),
            of_h * t * o * (1 - o),
        )
        return sum(parts), of_c * f, torch.cat(parts, 1)


def cell(h, c, gates):
    i, f, g, o = (gates + torch.cat([h] * 4, 1)).chunk(4, 1)
    new = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * new.tanh(), new


@equals(lambda x, w: F.conv1d(x, w, stride=2, dilation=2), normal((2, 2, 11), (3, 2, 3)))
class StridedConv1d(Function):
    @staticmethod
    def forward(ctx, x, w):
        count = (x.shape[-1] - 5) // 2 + 1
        index = torch.arange(count)[:, None] * 2 + torch.arange(3) * 2
        columns = x[..., index]
        ctx.save_for_backward(columns, w, index)
        ctx.length = x.shape[-1]
        return torch.einsum("nclk,ock->nol", columns, w)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        columns, w, index = ctx.saved_tensors
        patches = torch.einsum("nol,ock->nclk", grad, w)
        of_x = patches.new_zeros(*patches.shape[:2], ctx.length)
        of_x.index_add_(2, index.flatten(), patches.flatten(2))
        return of_x, torch.einsum("nol,nclk->ock", grad, columns)


@equals(lambda x: F.avg_pool2d(x, 2), normal((2, 3, 4, 6)))
class AvgPool(Function):
    @staticmethod
    def forward(ctx, x):
        n, c, h, w = x.shape
        return x.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))

    @staticmethod
    def backward(ctx, grad):
        return grad.repeat_interleave(2, 2).repeat_interleave(2, 3) / 4


@equals(
    lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
    normal((2, 4, 3), (2, 4, 3), (2, 4, 3)),
)
class CausalAttention(Function):
    @staticmethod
    def forward(ctx, q, k, v):
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        p = scores.masked_fill(mask, float("-inf")).softmax(-1)
        ctx.save_for_backward(q, k, v, p)
        return p @ v

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        q, k, v, p = ctx.saved_tensors
        of_p = grad @ v.mT
        of_s = p * (of_p - (of_p * p).sum(-1, keepdim=True)) / math.sqrt(q.shape[-1])
        return of_s @ k, of_s.mT @ q, p.mT @ grad


@equals(lambda x: F.dropout(x, 0.5))
class Dropout(Function):
    @staticmethod
    def forward(ctx, x):
        mask = torch.empty_like(x).bernoulli_(0.5).div_(0.5)
        ctx.save_for_backward(mask)
        return x * mask

    @staticmethod
    def backward(ctx, grad):
        (mask,) = ctx.saved_tensors
        return grad * mask


def rotated(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def angles(g):
    angle = torch.arange(5).double()[:, None] * torch.tensor([1.0, 0.1]).double()
    return (normal((2, 5, 4))(g)[0].requires_grad_(), angle.cos(), angle.sin())


@equals(rotated, angles)
class RotaryEmbedding(Function):
    @staticmethod
    def forward(ctx, x, cos, sin):
        ctx.save_for_backward(cos, sin)
        return rotated(x, cos, sin)

    @staticmethod
    def backward(ctx, grad):
        cos, sin = ctx.saved_tensors
        return rotated(grad, cos, -sin), None, None


@equals(lambda x, w, t: F.cross_entropy(x @ w.t(), t), lambda g: (*normal((6, 3), (4, 3))(g), torch.arange(6) % 4))
class LinearCrossEntropy(Function):
    """Takes the gradients in the forward pass, so that the logits need not be kept."""

    @staticmethod
    def forward(ctx, x, w, target):
        logp = torch.log_softmax(x @ w.t(), 1)
        g = logp.exp()
        g[torch.arange(len(g)), target] -= 1
        g /= len(g)
        ctx.save_for_backward(g @ w, g.t() @ x)
        return F.nll_loss(logp, target)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        of_x, of_w = ctx.saved_tensors
        return grad * of_x, grad * of_w, None


class LinearOfAnyBias(Function):
    @staticmethod
    def forward(ctx, x, weight, bias=None):
        ctx.save_for_backward(x, weight, bias)
        y = x.matmul(weight.t())
        return y if bias is None else y + bias

    @staticmethod
    def backward(ctx, grad):
        x, weight, bias = ctx.saved_tensors
        of_bias = None if bias is None else grad.reshape(-1, grad.shape[-1]).sum(0)
        of_weight = grad.reshape(-1, grad.shape[-1]).t() @ x.reshape(-1, x.shape[-1])
        return grad.matmul(weight), of_weight, of_bias


@equals(F.linear, lambda g: (*normal((2, 4, 3), (5, 3))(g), None))
def linear_without_bias(x, weight, bias):
    return LinearOfAnyBias.apply(x, weight, bias)


@equals(lambda *a: F.linear(*a), normal((2, 4, 3), (5, 3), (5,)))
def linear_of_three_dimensions(x, weight, bias):
    return LinearOfAnyBias.apply(x, weight, bias)
