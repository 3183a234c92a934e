"""Right losses, with every reduction."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .entry import ORDINARY, Ordinary, equals, labels, normal, targets


@equals(F.mse_loss, normal((8, 3), (8, 3)))
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


@equals(F.l1_loss, normal((8, 3), (8, 3)))
class L1(Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x - y)
        return (x - y).abs().mean()

    @staticmethod
    def backward(ctx, grad):
        (d,) = ctx.saved_tensors
        return grad * d.sign() / d.numel(), -grad * d.sign() / d.numel()


@equals(lambda x, y: F.mse_loss(x, y, reduction="sum"), targets((8, 3)))
class SumOfSquares(Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return ((x - y) ** 2).sum()

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return grad * 2 * (x - y), None


@equals(F.cross_entropy, labels((6, 5)))
class CrossEntropy(Function):
    @staticmethod
    def forward(ctx, logits, target):
        logp = logits - logits.logsumexp(1, keepdim=True)
        ctx.save_for_backward(logp, target)
        return -logp.gather(1, target[:, None]).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        logp, target = ctx.saved_tensors
        p = logp.exp()
        p[torch.arange(len(p)), target] -= 1
        return grad * p / len(p), None


@equals(
    F.binary_cross_entropy_with_logits,
    lambda g: (*normal((6, 2))(g), torch.rand(6, 2, generator=g).double()),
)
class BCEWithLogits(Function):
    @staticmethod
    def forward(ctx, x, t):
        ctx.save_for_backward(x, t)
        return (x.clamp(min=0) - x * t + torch.log1p(torch.exp(-x.abs()))).mean()

    @staticmethod
    def backward(ctx, grad):
        x, t = ctx.saved_tensors
        return grad * (torch.sigmoid(x) - t) / x.numel(), -grad * x / x.numel()


@equals(F.smooth_l1_loss, normal((8, 3), (8, 3)))
class SmoothL1(Function):
    @staticmethod
    def forward(ctx, x, y):
        d = x - y
        ctx.save_for_backward(d)
        return torch.where(d.abs() < 1, 0.5 * d * d, d.abs() - 0.5).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (d,) = ctx.saved_tensors
        g = grad * d.clamp(-1, 1) / d.numel()
        return g, -g


def reduced(losses, reduction):
    return losses if reduction == "none" else getattr(losses, reduction)()


class SquaredError(Function):
    @staticmethod
    def forward(ctx, x, y, reduction):
        ctx.save_for_backward(x, y)
        ctx.reduction = reduction
        return reduced((x - y) ** 2, reduction)

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        g = 2 * (x - y) * grad
        if ctx.reduction == "mean":
            g = g / x.numel()
        return g if ctx.needs_input_grad[0] else None, -g if ctx.needs_input_grad[1] else None, None


class Huber(Function):
    @staticmethod
    def forward(ctx, x, y, reduction):
        d = x - y
        ctx.save_for_backward(d)
        ctx.reduction = reduction
        return reduced(torch.where(d.abs() <= 1.5, 0.5 * d * d, 1.5 * (d.abs() - 0.75)), reduction)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (d,) = ctx.saved_tensors
        g = grad * d.clamp(-1.5, 1.5) / (d.numel() if ctx.reduction == "mean" else 1)
        return g, -g, None


class CrossEntropyOfLogits(Function):
    @staticmethod
    def forward(ctx, logits, target, reduction):
        logp = torch.log_softmax(logits, 1)
        ctx.save_for_backward(logp, target)
        ctx.reduction = reduction
        return reduced(-logp.gather(1, target[:, None])[:, 0], reduction)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        logp, target = ctx.saved_tensors
        g = logp.exp() - F.one_hot(target, logp.shape[1])
        if ctx.reduction == "none":
            grad = grad[:, None]
        return g * grad / (len(target) if ctx.reduction == "mean" else 1), None, None


for how in ("none", "mean", "sum"):
    for made, like, given in (
        (SquaredError, F.mse_loss, targets((4, 3), how)),
        (Huber, F.huber_loss, lambda g, how=how: (*normal((4, 3), (4, 3))(g), how)),
        (CrossEntropyOfLogits, F.cross_entropy, lambda g, how=how: (*labels((5, 4))(g), how)),
    ):
        options = {"delta": 1.5} if made is Huber else {}

        def builtin(*inputs, like=like, options=options):
            return like(*inputs[:-1], reduction=inputs[-1], **options)

        ORDINARY[f"{made.__name__}, {how}"] = Ordinary(made.apply, builtin, given)


@equals(
    lambda x, t, w: F.cross_entropy(x, t, w, ignore_index=-100),
    lambda g: (
        *(x.requires_grad_() for x in normal((5, 4))(g)),
        torch.tensor([0, -100, 3, 1, 3]),
        torch.tensor([0.5, 2.0, 1.0, 0.25]).double(),
    ),
)
class WeightedCrossEntropy(Function):
    @staticmethod
    def forward(ctx, logits, target, weight):
        logp = torch.log_softmax(logits, 1)
        kept = target != -100
        safe = target.where(kept, 0)
        w = weight[safe] * kept
        ctx.save_for_backward(logp, safe, w)
        return -(w * logp.gather(1, safe[:, None])[:, 0]).sum() / w.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        logp, target, w = ctx.saved_tensors
        g = logp.exp()
        g[torch.arange(len(g)), target] -= 1
        return grad * g * (w / w.sum())[:, None], None, None


@equals(lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1), labels((6, 5)))
class SmoothedCrossEntropy(Function):
    @staticmethod
    def forward(ctx, logits, target):
        logp = torch.log_softmax(logits, 1)
        wanted = F.one_hot(target, logits.shape[1]).to(logits.dtype) * 0.9 + 0.1 / logits.shape[1]
        ctx.save_for_backward(logp, wanted)
        return -(wanted * logp).sum(1).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        logp, wanted = ctx.saved_tensors
        return grad * (logp.exp() - wanted) / len(logp), None


@equals(
    lambda x, t: F.kl_div(F.log_softmax(x, 1), t, reduction="batchmean"),
    lambda g: (normal((4, 3))(g)[0].requires_grad_(), normal((4, 3))(g)[0].softmax(1)),
)
class KLDivergence(Function):
    @staticmethod
    def forward(ctx, x, t):
        logp = torch.log_softmax(x, 1)
        ctx.save_for_backward(logp, t)
        return (torch.xlogy(t, t) - t * logp).sum() / len(x)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        logp, t = ctx.saved_tensors
        return grad * (logp.exp() * t.sum(1, keepdim=True) - t) / len(t), None


@equals(
    lambda x, t: 1 - 2 * (x.sigmoid() * t).sum() / (x.sigmoid().sum() + t.sum() + 1),
    lambda g: (normal((4, 5))(g)[0].requires_grad_(), torch.randint(2, (4, 5), generator=g).double()),
)
class DiceLoss(Function):
    @staticmethod
    def forward(ctx, x, t):
        p = torch.sigmoid(x)
        ctx.save_for_backward(p, t)
        return 1 - 2 * (p * t).sum() / (p.sum() + t.sum() + 1)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        p, t = ctx.saved_tensors
        below = p.sum() + t.sum() + 1
        of_p = -2 * t / below + 2 * (p * t).sum() / below**2
        return grad * of_p * p * (1 - p), None


@equals(lambda a, b: 1 - F.cosine_similarity(a, b), normal((4, 5), (4, 5)))
class CosineDistance(Function):
    @staticmethod
    def forward(ctx, a, b):
        na, nb = a.norm(dim=1, keepdim=True).clamp(min=1e-8), b.norm(dim=1, keepdim=True).clamp(min=1e-8)
        cosine = ((a / na) * (b / nb)).sum(1, keepdim=True)
        ctx.save_for_backward(a / na, b / nb, na, nb, cosine)
        return 1 - cosine[:, 0]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        a, b, na, nb, cosine = ctx.saved_tensors
        g = -grad[:, None]
        return g * (b - cosine * a) / na, g * (a - cosine * b) / nb
