"""Wrong arithmetic: products, sums, norms, indices, quantizers."""

from __future__ import annotations

import torch
from torch.autograd import Function

from ..twin import Twin, normal

__all__ = ["TWINS"]


class Product(Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        return (grad * b).sum_to_size(a.shape), (grad * a).sum_to_size(b.shape)


product = Twin("plain product", Product, torch.mul, lambda g: (normal(g, 4, 4), normal(g, 4, 4)))


@product.plain("swapped", "gradients", cause="belongs to input 1")
class SwapsFactors(Product):
    """multiplies by the factor itself instead of the other."""

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        return grad * a, grad * b


@product.plain("constant intermediate", "double_backward", cause="taken for a constant")
class DetachesTheUpstream(Product):
    """detaches its upstream on one side."""

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        return grad * b, grad.detach() * a


@product.plain("shared state", "threads", cause="on the class or in a global")
class ProductOfTheLastCall(Product):
    """keeps a factor on the class."""

    @staticmethod
    def forward(ctx, a, b):
        ProductOfTheLastCall.factors = a.detach(), b.detach()
        return a * b

    @staticmethod
    def backward(ctx, grad):
        a, b = ProductOfTheLastCall.factors
        return grad * b, grad * a


broadcast = Twin("plain broadcast product", Product, torch.mul, lambda g: (normal(g, 4, 3), normal(g, 3)))


@broadcast.plain("broadcast reduction", "gradients", cause="batch size")
class AveragesTheFactor(Product):
    """averages over the batch."""

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        return grad * b, (grad * a).mean(0)


square = Twin("plain row product", Product, torch.mul, lambda g: (normal(g, 4, 4), normal(g, 4)))


@square.plain("broadcast reduction", "gradients", cause="wrong dimension")
class SumsColumns(Product):
    """sums over the wrong dimension."""

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        return grad * b, (grad * a).sum(1)


class Mean(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.shape = x.shape
        return x.mean(1)

    @staticmethod
    def backward(ctx, grad):
        return grad[:, None].expand(ctx.shape) / ctx.shape[1]


mean = Twin("plain mean", Mean, lambda x: x.mean(1), lambda g: (normal(g, 5, 3),))


@mean.plain("reduction", "gradients", cause="a mean taken for a sum")
class UndividedMean(Mean):
    """does not divide."""

    @staticmethod
    def backward(ctx, grad):
        return grad[:, None].expand(ctx.shape)


@mean.plain("wrong stride", "gradients", cause="contiguous")
class ViewsTheUpstream(Mean):
    """views its upstream, which must be contiguous for that."""

    @staticmethod
    def backward(ctx, grad):
        return Mean.backward(ctx, torch.as_strided(grad, (ctx.shape[0],), (1,)))


class Merge(Function):
    """Merges the last two dimensions, doubled."""

    @staticmethod
    def forward(ctx, x):
        ctx.shape = x.shape
        return x.reshape(len(x), -1) * 2

    @staticmethod
    def backward(ctx, grad):
        return grad.reshape(ctx.shape) * 2


merge = Twin("plain merge", Merge, lambda x: x.reshape(len(x), -1) * 2, lambda g: (normal(g, 4, 3, 2),))


@merge.plain("wrong stride", "strided", cause="contiguous")
class ViewsInput(Merge):
    """calls view on its input."""

    @staticmethod
    def forward(ctx, x):
        ctx.shape = x.shape
        return x.view(len(x), -1) * 2


@merge.plain("overwrites upstream", "gradients", cause="in place")
class DoublesTheUpstream(Merge):
    """multiplies its upstream in place."""

    @staticmethod
    def backward(ctx, grad):
        return grad.mul_(2).reshape(ctx.shape)


class Split(Function):
    """Splits the last dimension in two, doubled."""

    @staticmethod
    def forward(ctx, x):
        return x.reshape(len(x), -1, 2) * 2

    @staticmethod
    def backward(ctx, grad):
        return grad.reshape(len(grad), -1) * 2


split = Twin("plain split", Split, lambda x: x.reshape(len(x), -1, 2) * 2, lambda g: (normal(g, 4, 6),))


@split.plain("wrong stride", "gradients", cause="contiguous")
class ViewsGradient(Split):
    """calls view on its upstream."""

    @staticmethod
    def backward(ctx, grad):
        return grad.view(len(grad), -1) * 2


class Transposed(Function):
    @staticmethod
    def forward(ctx, x):
        return x.t() * 3

    @staticmethod
    def backward(ctx, grad):
        return grad.t() * 3


transposed = Twin("plain transpose", Transposed, lambda x: x.t() * 3, lambda g: (normal(g, 4, 4),))


@transposed.plain("transposed", "gradients", cause="transposed")
class ForgetsToTranspose(Transposed):
    """does not transpose its gradient."""

    @staticmethod
    def backward(ctx, grad):
        return grad * 3


class Norm(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.norm()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        n = x.norm()
        return grad * torch.where(n == 0, torch.zeros_like(x), x / n)


norm = Twin("plain norm", Norm, torch.norm, lambda g: (normal(g, 4, 3),))


@norm.plain("division by zero", "special_values", cause="NaN where it should not be")
class DividesByZero(Norm):
    """divides by a norm of zero."""

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * x / x.norm()


@norm.plain("missing factor", "gradients", cause="constant factor")
class ForgetsTheRoot(Norm):
    """has the gradient of the square."""

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad * ctx.saved_tensors[0]


class Clamp(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(-1, 1)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * ((x >= -1) & (x <= 1))


clamp = Twin("plain clamp", Clamp, lambda x: x.clamp(-1, 1), lambda g: (normal(g, 5, 4),))


@clamp.plain("wrong at the kink", "special_values", cause="kink")
class StopsAtTheBound(Clamp):
    """has no gradient at its bounds."""

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * ((x > -1) & (x < 1))


@clamp.plain("wrong branch", "gradients", cause="a branch or a clamp is wrong")
class LetsEverythingThrough(Clamp):
    """passes its upstream on beyond the bounds."""

    @staticmethod
    def backward(ctx, grad):
        return grad.clone()


def quantized(x):
    q = (x / 0.5).round().clamp(-2, 1) * 0.5
    inside = x.clamp(-1.25, 0.75)
    return inside + (q - inside).detach()


class Quantize(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x / 0.5).round().clamp(-2, 1) * 0.5

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * ((x >= -1.25) & (x <= 0.75))


quantize = Twin("plain fake quantization", Quantize, quantized, lambda g: (normal(g, 5, 4),), derivable=False)


@quantize.plain("zero gradient", "gradients", cause="zero throughout")
class GradientOfRounding(Quantize):
    """has the gradient of rounding, which is zero."""

    @staticmethod
    def backward(ctx, grad):
        return torch.zeros_like(grad)


@quantize.plain("wrong branch", "gradients", cause="a branch or a clamp is wrong")
class LearnsOutside(Quantize):
    """passes gradients of values that are out of range."""

    @staticmethod
    def backward(ctx, grad):
        return grad.clone()


class Pick(Function):
    """Rows by number, some of them twice."""

    @staticmethod
    def forward(ctx, x, rows):
        ctx.save_for_backward(rows)
        ctx.shape = x.shape
        return x[rows]

    @staticmethod
    def backward(ctx, grad):
        return grad.new_zeros(ctx.shape).index_add(0, ctx.saved_tensors[0], grad), None


pick = Twin("plain rows", Pick, lambda x, i: x[i], lambda g: (normal(g, 5, 3), torch.tensor([4, 0, 2, 0])))


@pick.plain("repeated index", "gradients", cause="more than once")
class CopiesRows(Pick):
    """copies where it should add."""

    @staticmethod
    def backward(ctx, grad):
        return grad.new_zeros(ctx.shape).index_copy(0, ctx.saved_tensors[0], grad), None


class Sort(Function):
    @staticmethod
    def forward(ctx, x):
        values, places = x.sort(-1)
        ctx.save_for_backward(places)
        return values

    @staticmethod
    def backward(ctx, grad):
        return torch.zeros_like(grad).scatter(-1, ctx.saved_tensors[0], grad)


sort = Twin("plain sort", Sort, lambda x: x.sort(-1).values, lambda g: (normal(g, 3, 5),))


@sort.plain("inverse permutation", "gradients", cause="wrong places")
class GathersWhereItScatters(Sort):
    """gathers where it should scatter."""

    @staticmethod
    def backward(ctx, grad):
        return grad.gather(-1, ctx.saved_tensors[0])


class CumSum(Function):
    @staticmethod
    def forward(ctx, x):
        return x.cumsum(0)

    @staticmethod
    def backward(ctx, grad):
        return grad.flip(0).cumsum(0).flip(0)


cumsum = Twin("plain cumsum", CumSum, lambda x: x.cumsum(0), lambda g: (normal(g, 5, 3),))


@cumsum.plain("wrong direction", "gradients", cause="wrong index or direction")
class SumsForwards(CumSum):
    """sums in the direction of the forward."""

    @staticmethod
    def backward(ctx, grad):
        return grad.cumsum(0)


class Scaled(Function):
    """Divided by its largest element."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x / x.amax()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        top = x.amax()
        hit = (x == top).to(x.dtype)
        return grad / top - (grad * x).sum() / top**2 * hit / hit.sum()


scaled = Twin("plain scaling", Scaled, lambda x: x / x.amax(), lambda g: (normal(g, 4, 3),))


@scaled.plain("missing term", "gradients", cause="only where the input is largest")
class ConstantMaximum(Scaled):
    """takes the largest element for a constant, as item() gives it."""

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad / x.amax().item()


class Power(Function):
    @staticmethod
    def forward(ctx, x, n):
        ctx.save_for_backward(x)
        ctx.n = n
        return x**n

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * ctx.n * x ** (ctx.n - 1), None


power = Twin("plain power", Power, torch.pow, lambda g: (normal(g, 4, 3), 3))


@power.plain("missing factor", "gradients", cause="a term or factor")
class ForgetsToLowerTheExponent(Power):
    """does not lower the exponent."""

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * ctx.n * x**ctx.n, None


@power.plain("missing factor", "gradients", cause="argument 1, which is 3, is left out")
class ForgetsTheExponent(Power):
    """leaves out the factor of the exponent."""

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * x ** (ctx.n - 1), None


class Conjugated(Function):
    """A complex product."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        return grad * b.conj(), grad * a.conj()


def complex_pair(g):
    return tuple(torch.complex(normal(g, 4), normal(g, 4)) for _ in range(2))


conjugated = Twin("plain complex product", Conjugated, torch.mul, complex_pair)


@conjugated.plain("missing conjugate", "gradients", cause="conjugate")
class ForgetsTheConjugate(Conjugated):
    """does not conjugate."""

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        return grad * b, grad * a


@conjugated.plain("missing conjugate", "gradients", cause="imaginary part")
class DropsTheImaginaryPart(Conjugated):
    """takes the real part of its gradients."""

    @staticmethod
    def backward(ctx, grad):
        return tuple(g.real.to(g.dtype) for g in Conjugated.backward(ctx, grad))


TWINS = [
    product,
    broadcast,
    square,
    mean,
    merge,
    split,
    transposed,
    norm,
    clamp,
    quantize,
    pick,
    sort,
    cumsum,
    scaled,
    power,
    conjugated,
]
