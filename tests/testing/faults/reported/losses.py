"""Wrong losses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.autograd import Function

from ..twin import Twin, normal

__all__ = ["TWINS"]


class MSE(Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return ((x - y) ** 2).mean()

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        g = grad * 2 * (x - y) / x.numel()
        return g, -g


mse = Twin("plain mse_loss", MSE, F.mse_loss, lambda g: (normal(g, 5, 3), normal(g, 5, 3)))


@mse.plain("constant factor", "gradients", cause="factor of 0.5")
class HalfMSE(MSE):
    """leaves out the factor of 2."""

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        g = grad * (x - y) / x.numel()
        return g, -g


@mse.plain("reduction", "gradients", cause="a mean taken for a sum")
class UndividedMSE(MSE):
    """does not divide by the number of elements."""

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return grad * 2 * (x - y), -grad * 2 * (x - y)


@mse.plain("reduction", "gradients", cause="a mean taken for a sum")
class MSEPerSample(MSE):
    """divides by the batch size alone."""

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        g = grad * 2 * (x - y) / len(x)
        return g, -g


@mse.plain("sign", "gradients", cause="wrong sign")
class SwappedMSE(MSE):
    """returns the gradients in the wrong order."""

    @staticmethod
    def backward(ctx, grad):
        g, other = MSE.backward(ctx, grad)
        return other, g


@mse.plain("ignores upstream", "gradients", cause="ignores grad_output")
class LastMSE(MSE):
    """takes itself for the end of the graph."""

    @staticmethod
    def backward(ctx, grad):
        return MSE.backward(ctx, torch.ones_like(grad))


@mse.plain("missing gradient", "gradients", cause="no gradient is returned")
class MSEOfConstantTarget(MSE):
    """returns None for the target."""

    @staticmethod
    def backward(ctx, grad):
        return MSE.backward(ctx, grad)[0], None


@mse.plain("constant intermediate", "double_backward", cause="taken for a constant")
class MSEKeepsItsDifference(MSE):
    """keeps the difference on ctx."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.d = x - y
        return (ctx.d**2).mean()

    @staticmethod
    def backward(ctx, grad):
        g = grad * 2 * ctx.d / ctx.d.numel()
        return g, -g


class Errors(Function):
    """The squared errors of samples, one by one."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return ((x - y) ** 2).sum(1)

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        g = grad[:, None] * 2 * (x - y)
        return g, -g


errors = Twin(
    "plain errors", Errors, lambda x, y: ((x - y) ** 2).sum(1), lambda g: (normal(g, 4, 4), normal(g, 4, 4))
)


@errors.plain("reduction", "gradients", cause="sums or averages")
class SummedErrors(Errors):
    """sums the upstream of all samples."""

    @staticmethod
    def backward(ctx, grad):
        return Errors.backward(ctx, grad.sum().expand(len(grad)))


@errors.plain("broadcast", "gradients", cause="reaches the wrong elements")
class BroadcastErrors(Errors):
    """broadcasts the upstream along the wrong dimension."""

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        g = grad * 2 * (x - y)
        return g, -g


IGNORED = -100


class CrossEntropy(Function):
    """With class weights and labels to ignore."""

    @staticmethod
    def forward(ctx, x, labels, weight):
        logs = torch.log_softmax(x, 1)
        safe = labels.clamp(min=0)
        w = weight[safe] * (labels != IGNORED)
        ctx.save_for_backward(x, labels, weight)
        return -(w * logs.gather(1, safe[:, None])[:, 0]).sum() / w.sum()

    @staticmethod
    def slopes(x, labels):
        return x.softmax(1) - F.one_hot(labels.clamp(min=0), x.shape[1])

    @staticmethod
    def backward(ctx, grad):
        x, labels, weight = ctx.saved_tensors
        w = weight[labels.clamp(min=0)] * (labels != IGNORED)
        return grad * CrossEntropy.slopes(x, labels) * (w / w.sum())[:, None], None, None


def classes(g):
    return (
        normal(g, 5, 4).requires_grad_(),
        torch.tensor([0, IGNORED, 3, 1, 3]),
        torch.tensor([0.5, 2, 1, 0.25]).double(),
    )


cross_entropy = Twin("plain cross_entropy", CrossEntropy, lambda x, t, w: F.cross_entropy(x, t, w), classes)


@cross_entropy.plain("reduction", "gradients", cause="constant factor")
class CountsIgnored(CrossEntropy):
    """divides by the number of labels, those ignored too."""

    @staticmethod
    def backward(ctx, grad):
        x, labels, weight = ctx.saved_tensors
        w = weight[labels.clamp(min=0)] * (labels != IGNORED)
        return grad * CrossEntropy.slopes(x, labels) * w[:, None] / len(x), None, None


@cross_entropy.plain("ignored option", "gradients", cause="only at [1] along dimension 0")
class LearnsFromIgnored(CrossEntropy):
    """sends a gradient to ignored rows."""

    @staticmethod
    def backward(ctx, grad):
        x, labels, weight = ctx.saved_tensors
        w = weight[labels.clamp(min=0)]
        return grad * CrossEntropy.slopes(x, labels) * (w / (w * (labels != IGNORED)).sum())[:, None], None, None


@cross_entropy.plain("ignored option", "gradients", cause="depends on dimension 0")
class ForgetsClassWeights(CrossEntropy):
    """leaves out the class weights."""

    @staticmethod
    def backward(ctx, grad):
        x, labels, _ = ctx.saved_tensors
        kept = (labels != IGNORED).to(x.dtype)
        return grad * CrossEntropy.slopes(x, labels) * (kept / kept.sum())[:, None], None, None


@cross_entropy.plain("missing term", "gradients", cause="a term")
class ForgetsTheLabel(CrossEntropy):
    """leaves out the label."""

    @staticmethod
    def backward(ctx, grad):
        x, labels, weight = ctx.saved_tensors
        w = weight[labels.clamp(min=0)] * (labels != IGNORED)
        return grad * x.softmax(1) * (w / w.sum())[:, None], None, None


class Smoothed(Function):
    """Cross-entropy with label smoothing."""

    @staticmethod
    def forward(ctx, x, labels):
        ctx.save_for_backward(x, labels)
        return F.cross_entropy(x, labels, label_smoothing=0.1)

    @staticmethod
    def wanted(x, labels, by=0.1):
        return F.one_hot(labels, x.shape[1]).to(x.dtype) * (1 - by) + by / x.shape[1]

    @staticmethod
    def backward(ctx, grad):
        x, labels = ctx.saved_tensors
        return grad * (x.softmax(1) - Smoothed.wanted(x, labels)) / len(x), None


smoothed = Twin(
    "plain smoothed cross_entropy",
    Smoothed,
    lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1),
    lambda g: (normal(g, 5, 3), torch.tensor([0, 2, 1, 1, 0])),
)


@smoothed.plain("ignored option", "gradients", cause="a term")
class ForgetsSmoothing(Smoothed):
    """forgets the smoothing."""

    @staticmethod
    def backward(ctx, grad):
        x, labels = ctx.saved_tensors
        return grad * (x.softmax(1) - Smoothed.wanted(x, labels, 0.0)) / len(x), None


class BCE(Function):
    @staticmethod
    def forward(ctx, x, t):
        ctx.save_for_backward(x, t)
        return (F.softplus(x) - x * t).mean()

    @staticmethod
    def backward(ctx, grad):
        x, t = ctx.saved_tensors
        return grad * (x.sigmoid() - t) / x.numel(), None


bce = Twin(
    "plain bce",
    BCE,
    lambda x, t: (F.softplus(x) - x * t).mean(),
    lambda g: (normal(g, 5, 3).requires_grad_(), torch.rand(5, 3, generator=g).double()),
)


@bce.plain("sign", "gradients", cause="wrong sign")
class AscendingBCE(BCE):
    """takes the target minus the probability."""

    @staticmethod
    def backward(ctx, grad):
        return -BCE.backward(ctx, grad)[0], None


@bce.plain("unstable", "special_values", cause="the logarithm of zero")
class LogOfZeroBCE(BCE):
    """takes the logarithm of a probability that has become zero."""

    @staticmethod
    def forward(ctx, x, t):
        ctx.save_for_backward(x, t)
        p = x.sigmoid()
        return -(t * p.log() + (1 - t) * (1 - p).log()).mean()


class Huber(Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return F.huber_loss(x, y, reduction="sum", delta=0.7)

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        g = grad * (x - y).clamp(-0.7, 0.7)
        return g, -g


huber = Twin(
    "plain huber_loss",
    Huber,
    lambda x, y: F.huber_loss(x, y, reduction="sum", delta=0.7),
    lambda g: (normal(g, 5, 3), normal(g, 5, 3)),
)


@huber.plain("ignored option", "gradients", cause="a branch or a clamp is wrong")
class HuberOfDeltaOne(Huber):
    """takes delta for one."""

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        g = grad * (x - y).clamp(-1, 1)
        return g, -g


@huber.plain("wrong branch", "gradients", cause="a branch or a clamp is wrong")
class HuberNeverLinear(Huber):
    """has the slope of the square everywhere."""

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return grad * (x - y), -grad * (x - y)


class Dice(Function):
    @staticmethod
    def forward(ctx, p, t):
        ctx.save_for_backward(p, t)
        return 1 - 2 * (p * t).sum() / (p.sum() + t.sum())

    @staticmethod
    def backward(ctx, grad):
        p, t = ctx.saved_tensors
        below = p.sum() + t.sum()
        return grad * (-2 * t / below + 2 * (p * t).sum() / below**2), None


dice = Twin(
    "plain dice_loss",
    Dice,
    lambda p, t: 1 - 2 * (p * t).sum() / (p.sum() + t.sum()),
    lambda g: (normal(g, 4, 3).sigmoid().requires_grad_(), torch.randint(2, (4, 3), generator=g).double()),
)


@dice.plain("missing term", "gradients", cause="a term")
class DiceWithoutQuotientRule(Dice):
    """takes the denominator for a constant."""

    @staticmethod
    def backward(ctx, grad):
        p, t = ctx.saved_tensors
        return -2 * grad * t / (p.sum() + t.sum()), None


TWINS = [mse, errors, cross_entropy, smoothed, bce, huber, dice]
