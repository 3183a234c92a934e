"""Wrong layers."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch.autograd import Function

from ..twin import Twin, normal

__all__ = ["TWINS"]


class Linear(Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return x @ weight.mT + bias

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        return grad @ weight, (grad.mT @ x).sum(0), grad.sum((0, 1))


linear = Twin("plain linear", Linear, F.linear, lambda g: (normal(g, 4, 5, 3), normal(g, 2, 3), normal(g, 2)))


@linear.plain("transposed weight", "gradients", cause="transposed")
class TransposedGradient(Linear):
    """returns the transpose of the weight's gradient."""

    @staticmethod
    def backward(ctx, grad):
        of_x, of_weight, of_bias = Linear.backward(ctx, grad)
        return of_x, of_weight.t(), of_bias


@linear.plain("broadcast reduction", "gradients", cause="must be summed")
class BiasOverEverything(Linear):
    """sums the bias over its own dimension too."""

    @staticmethod
    def backward(ctx, grad):
        return *Linear.backward(ctx, grad)[:2], grad.sum()


@linear.plain("broadcast reduction", "gradients", cause="a mean taken for a sum")
class BiasAveraged(Linear):
    """averages the bias over the batch."""

    @staticmethod
    def backward(ctx, grad):
        return *Linear.backward(ctx, grad)[:2], grad.sum(1).mean(0)


@linear.plain("missing term", "gradients", cause="a term or factor")
class WeightOfTheFirstSample(Linear):
    """takes the weight's gradient of the first sample alone."""

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        return grad @ weight, grad[0].mT @ x[0], grad.sum((0, 1))


@linear.plain("constant intermediate", "double_backward", cause="taken for a constant")
class LinearOfData(Linear):
    """takes the weight's data."""

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        return grad @ weight.data, (grad.mT @ x).sum(0), grad.sum((0, 1))


@linear.plain("missing gradient", "each_alone", cause="no gradient is returned")
class SkipsTheBias(Linear):
    """gives the bias a gradient only where the weight needs one."""

    @staticmethod
    def backward(ctx, grad):
        of_x, of_weight, of_bias = Linear.backward(ctx, grad)
        return (of_x, of_weight, of_bias) if ctx.needs_input_grad[1] else (of_x, None, None)


class LayerNorm(Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return F.layer_norm(x, (x.shape[-1],), weight, bias, 1e-3)

    @staticmethod
    def parts(x, eps=1e-3):
        centered = x - x.mean(-1, keepdim=True)
        scale = (centered.square().mean(-1, keepdim=True) + eps).rsqrt()
        return centered * scale, scale

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        z, scale = LayerNorm.parts(x)
        g = grad * weight
        of_x = scale * (g - g.mean(-1, keepdim=True) - z * (g * z).mean(-1, keepdim=True))
        return of_x, (grad * z).sum(0), grad.sum(0)


layer_norm = Twin(
    "plain layer_norm",
    LayerNorm,
    lambda x, w, b: F.layer_norm(x, (x.shape[-1],), w, b, 1e-3),
    lambda g: (normal(g, 5, 4), normal(g, 4), normal(g, 4)),
)


@layer_norm.plain("missing term", "gradients", cause="constant along dimension 1, like a mean")
class ForgetsTheMean(LayerNorm):
    """leaves out the term of the mean."""

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        z, scale = LayerNorm.parts(x)
        g = grad * weight
        return scale * (g - z * (g * z).mean(-1, keepdim=True)), *LayerNorm.backward(ctx, grad)[1:]


@layer_norm.plain("missing term", "gradients", cause="a sum over dimension 1 is missing")
class ConstantStatistics(LayerNorm):
    """takes mean and variance for constants."""

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        return grad * weight * LayerNorm.parts(x)[1], *LayerNorm.backward(ctx, grad)[1:]


@layer_norm.plain("missing factor", "gradients", cause="a term or factor")
class ForgetsTheWeight(LayerNorm):
    """forgets the weight on the way to the input."""

    @staticmethod
    def backward(ctx, grad):
        z, scale = LayerNorm.parts(ctx.saved_tensors[0])
        of_x = scale * (grad - grad.mean(-1, keepdim=True) - z * (grad * z).mean(-1, keepdim=True))
        return of_x, *LayerNorm.backward(ctx, grad)[1:]


@layer_norm.plain("ignored option", "gradients", cause="eps")
class ForgetsEpsilon(LayerNorm):
    """leaves eps out of the backward."""

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        z, scale = LayerNorm.parts(x, 0.0)
        g = grad * weight
        of_x = scale * (g - g.mean(-1, keepdim=True) - z * (g * z).mean(-1, keepdim=True))
        return of_x, *LayerNorm.backward(ctx, grad)[1:]


@layer_norm.plain("broadcast reduction", "gradients", cause="a mean taken for a sum")
class AveragesTheWeight(LayerNorm):
    """averages the weight's gradient over the batch."""

    @staticmethod
    def backward(ctx, grad):
        of_x, of_weight, of_bias = LayerNorm.backward(ctx, grad)
        return of_x, of_weight / len(grad), of_bias


@layer_norm.plain("constant intermediate", "double_backward", cause="taken for a constant")
class SavesItsStatistics(LayerNorm):
    """saves the normalized input and the scale, which it computed itself."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        z, scale = LayerNorm.parts(x)
        ctx.save_for_backward(z, scale, weight)
        return z * weight + bias

    @staticmethod
    def backward(ctx, grad):
        z, scale, weight = ctx.saved_tensors
        g = grad * weight
        of_x = scale * (g - g.mean(-1, keepdim=True) - z * (g * z).mean(-1, keepdim=True))
        return of_x, (grad * z).sum(0), grad.sum(0)


class RMSNorm(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return F.rms_norm(x, (x.shape[-1],), eps=1e-6)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        r = (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
        return r * grad - x * r**3 * (grad * x).mean(-1, keepdim=True)


rms_norm = Twin(
    "plain rms_norm", RMSNorm, lambda x: F.rms_norm(x, (x.shape[-1],), eps=1e-6), lambda g: (normal(g, 5, 4),)
)


@rms_norm.plain("missing term", "gradients", cause="a sum over dimension 1 is missing")
class ConstantScale(RMSNorm):
    """takes its scale for a constant."""

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()


@rms_norm.plain("wrong dimension", "gradients", cause="wrong dimension")
class MeanOverTheBatch(RMSNorm):
    """takes the mean of its second term over the batch."""

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        r = (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
        return r * grad - x * r**3 * (grad * x).mean(0, keepdim=True)


STRIDE, DILATION = 2, 2


class Conv1d(Function):
    @staticmethod
    def index(length, size, stride=STRIDE, dilation=DILATION):
        count = (length - DILATION * (size - 1) - 1) // STRIDE + 1
        return torch.arange(count)[:, None] * stride + torch.arange(size) * dilation

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return torch.einsum("nclk,ock->nol", x[..., Conv1d.index(x.shape[-1], weight.shape[-1])], weight)

    @staticmethod
    def gradients(ctx, grad, of_x, of_weight):
        x, weight = ctx.saved_tensors
        patches = torch.einsum("nol,ock->nclk", grad, weight).flatten(2)
        found = torch.zeros_like(x).index_add(2, of_x.flatten(), patches)
        return found, torch.einsum("nol,nclk->ock", grad, x[..., of_weight])

    @staticmethod
    def backward(ctx, grad):
        index = Conv1d.index(ctx.saved_tensors[0].shape[-1], ctx.saved_tensors[1].shape[-1])
        return Conv1d.gradients(ctx, grad, index, index)


conv1d = Twin(
    "plain conv1d",
    Conv1d,
    lambda x, w: F.conv1d(x, w, stride=STRIDE, dilation=DILATION),
    lambda g: (normal(g, 2, 2, 12), normal(g, 3, 2, 3)),
)


@conv1d.plain("ignored option", "gradients", cause="wrong index")
class IgnoresDilation(Conv1d):
    """ignores the dilation for the weight."""

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        index = Conv1d.index(x.shape[-1], weight.shape[-1])
        return Conv1d.gradients(ctx, grad, index, Conv1d.index(x.shape[-1], weight.shape[-1], dilation=1))


@conv1d.plain("ignored option", "gradients", cause="wrong index")
class IgnoresStride(Conv1d):
    """ignores the stride for the input."""

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        index = Conv1d.index(x.shape[-1], weight.shape[-1])
        return Conv1d.gradients(ctx, grad, Conv1d.index(x.shape[-1], weight.shape[-1], stride=1), index)


@conv1d.plain("off by one", "gradients", cause="shifted by one")
class ShiftedByOne(Conv1d):
    """is one position off."""

    @staticmethod
    def backward(ctx, grad):
        of_x, of_weight = Conv1d.backward(ctx, grad)
        return of_x.roll(1, -1), of_weight


@conv1d.plain("wrong shape", "gradients", cause="wrong shape")
class DropsTheRest(Conv1d):
    """returns a gradient without the positions that no window covers."""

    @staticmethod
    def backward(ctx, grad):
        of_x, of_weight = Conv1d.backward(ctx, grad)
        return of_x[..., :-1], of_weight


class AvgPool(Function):
    """With padding, whose zeros count."""

    @staticmethod
    def forward(ctx, x):
        ctx.length = x.shape[-1]
        return F.pad(x, (1, 1)).unfold(-1, 2, 2).mean(-1)

    @staticmethod
    def backward(ctx, grad):
        return (grad / 2).repeat_interleave(2, -1)[..., 1 : ctx.length + 1]


avg_pool = Twin("plain avg_pool1d", AvgPool, lambda x: F.avg_pool1d(x, 2, 2, 1), lambda g: (normal(g, 2, 3, 8),))


@avg_pool.plain("padding", "gradients", cause="its edge")
class ForgetsThePadding(AvgPool):
    """divides by the number of real elements at the edges."""

    @staticmethod
    def backward(ctx, grad):
        found = AvgPool.backward(ctx, grad)
        return torch.cat([2 * found[..., :1], found[..., 1:-1], 2 * found[..., -1:]], -1)


@avg_pool.plain("constant factor", "gradients", cause="factor of 2")
class SharesNothing(AvgPool):
    """sends all of the upstream to each element of a window."""

    @staticmethod
    def backward(ctx, grad):
        return 2 * AvgPool.backward(ctx, grad)


class Embedding(Function):
    @staticmethod
    def forward(ctx, indices, table):
        ctx.save_for_backward(indices)
        ctx.shape = table.shape
        return table[indices]

    @staticmethod
    def backward(ctx, grad):
        (indices,) = ctx.saved_tensors
        flat = grad.reshape(-1, grad.shape[-1])
        return None, grad.new_zeros(ctx.shape).index_add(0, indices.flatten(), flat)


embedding = Twin(
    "plain embedding",
    Embedding,
    F.embedding,
    lambda g: (torch.tensor([[1, 3, 0], [5, 3, 2]]), normal(g, 6, 4)),
)


@embedding.plain("repeated index", "gradients", cause="more than once")
class OverwritesRepeated(Embedding):
    """overwrites where it should add."""

    @staticmethod
    def backward(ctx, grad):
        (indices,) = ctx.saved_tensors
        found = grad.new_zeros(ctx.shape)
        found[indices] = grad
        return None, found


class PaddedEmbedding(Embedding):
    """The same, but that its first row is padding and gets no gradient."""

    @staticmethod
    def backward(ctx, grad):
        found = Embedding.backward(ctx, grad)[1].clone()
        found[0] = 0
        return None, found


padded_embedding = Twin(
    "plain padded embedding",
    PaddedEmbedding,
    lambda i, w: F.embedding(i, w, padding_idx=0),
    lambda g: (torch.tensor([[1, 3, 0], [5, 3, 2]]), normal(g, 6, 4)),
    derivable=False,
)


@padded_embedding.plain("ignored option", "gradients", cause="only at [0] along dimension 0")
class LearnsItsPadding(PaddedEmbedding):
    """gives its padding a gradient."""

    @staticmethod
    def backward(ctx, grad):
        return Embedding.backward(ctx, grad)


class Attention(Function):
    @staticmethod
    def forward(ctx, q, k, v):
        p = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1)
        ctx.save_for_backward(q, k, v)
        return p @ v

    @staticmethod
    def gradients(ctx, grad, scale, summed=True):
        q, k, v = ctx.saved_tensors
        p = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1)
        of_p = grad @ v.mT
        of_s = p * (of_p - (of_p * p).sum(-1, keepdim=True) if summed else of_p) * scale
        return of_s @ k, of_s.mT @ q, p.mT @ grad

    @staticmethod
    def backward(ctx, grad):
        return Attention.gradients(ctx, grad, 1 / math.sqrt(grad.shape[-1]))


attention = Twin(
    "plain attention",
    Attention,
    F.scaled_dot_product_attention,
    lambda g: (normal(g, 2, 4, 3), normal(g, 2, 5, 3), normal(g, 2, 5, 3)),
)


@attention.plain("missing factor", "gradients", cause="constant factor of 1.73205")
class ForgetsTheScale(Attention):
    """forgets the scale in the backward."""

    @staticmethod
    def backward(ctx, grad):
        return Attention.gradients(ctx, grad, 1.0)


@attention.plain("missing term", "gradients", cause="a term or factor")
class ForgetsTheRowSum(Attention):
    """leaves out the sum in the backward of softmax."""

    @staticmethod
    def backward(ctx, grad):
        return Attention.gradients(ctx, grad, 1 / math.sqrt(grad.shape[-1]), summed=False)


@attention.plain("swapped", "gradients", cause="belongs to input 2")
class SwapsKeysAndValues(Attention):
    """exchanges the gradients of keys and values."""

    @staticmethod
    def backward(ctx, grad):
        of_q, of_k, of_v = Attention.backward(ctx, grad)
        return of_q, of_v, of_k


class Dropout(Function):
    @staticmethod
    def forward(ctx, x):
        mask = torch.empty_like(x).bernoulli_(0.5)
        ctx.save_for_backward(mask)
        return x * mask / 0.5

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0] / 0.5


dropout = Twin("plain dropout", Dropout, lambda x: F.dropout(x, 0.5), lambda g: (normal(g, 6, 5),))


@dropout.plain("random numbers", "gradients", cause="draws random numbers anew")
class DrawsAgain(Dropout):
    """draws another mask in the backward."""

    @staticmethod
    def backward(ctx, grad):
        return grad * torch.empty_like(grad).bernoulli_(0.5) / 0.5


@dropout.plain("missing factor", "gradients", cause="factor of 0.5")
class ForgetsToScale(Dropout):
    """does not scale the gradient."""

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0]


@dropout.plain("missing factor", "gradients", cause="a branch or a clamp")
class ForgetsTheMask(Dropout):
    """sends a gradient to what was dropped."""

    @staticmethod
    def backward(ctx, grad):
        return grad / 0.5


TWINS = [
    linear,
    layer_norm,
    rms_norm,
    conv1d,
    avg_pool,
    embedding,
    padded_embedding,
    attention,
    dropout,
]
