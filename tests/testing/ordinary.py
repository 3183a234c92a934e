"""Right Functions as people write them: a forward and a backward with ``ctx``, and nothing more.

Each comes with what it equals and with inputs. None has a ``jvp``, and few have a ``setup_context`` or a vmap rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

__all__ = ["ORDINARY", "Ordinary"]


class Ordinary(NamedTuple):
    """A right function, what it equals, and what makes its inputs from a generator, in float64."""

    custom: Callable[..., Any]
    builtin: Callable[..., Any]
    inputs: Callable[[torch.Generator], tuple[Any, ...]]


ORDINARY: dict[str, Ordinary] = {}


def normal(*shapes: tuple[int, ...]) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    return lambda g: tuple(torch.randn(shape, generator=g, dtype=torch.float64) for shape in shapes)


def targets(shape: tuple[int, ...]) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    """Predictions, and targets that need no gradient."""

    def make(g: torch.Generator) -> tuple[Tensor, ...]:
        x, y = normal(shape, shape)(g)
        return x.requires_grad_(), y

    return make


def labels(shape: tuple[int, int]) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    return lambda g: (*normal(shape)(g), torch.randint(shape[1], shape[:1], generator=g))


def equals(builtin: Callable[..., Any], inputs: Callable[..., Any] | None = None) -> Callable[[Any], Any]:
    """Enters a Function, or a function, with what it equals; by default of one matrix."""

    def enter(custom: Any) -> Any:
        call = custom.apply if isinstance(custom, type) else custom
        ORDINARY[custom.__name__] = Ordinary(call, builtin, inputs or normal((4, 3)))
        return custom

    return enter


@equals(F.gelu)
class GELU(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        density = torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
        return grad * (0.5 * (1 + torch.erf(x / math.sqrt(2))) + x * density)


@equals(F.relu)
class ReLU(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        out = grad.clone()
        out[x <= 0] = 0
        return out


@equals(F.relu)
class ReLUOfAMask(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.mask = x > 0
        return x * ctx.mask

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.mask


@equals(torch.sigmoid)
class Sigmoid(Function):
    @staticmethod
    def forward(ctx, x):
        y = 1 / (1 + torch.exp(-x))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * y * (1 - y)


@equals(torch.tanh)
class TanhOnce(Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * (1 - y * y)


@equals(F.silu)
class Swish(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return grad * (s + x * s * (1 - s))


@equals(lambda x: F.leaky_relu(x, 0.2), lambda g: (*normal((4, 3))(g), 0.2))
class LeakyReLU(Function):
    @staticmethod
    def forward(ctx, x, slope):
        ctx.slope = slope
        ctx.save_for_backward(x)
        return torch.where(x > 0, x, slope * x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return torch.where(x > 0, grad, ctx.slope * grad), None


ORDINARY["LeakyReLU"] = ORDINARY["LeakyReLU"]._replace(builtin=F.leaky_relu)


@equals(F.elu)
class ELU(Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.where(x > 0, x, torch.expm1(x))
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return grad * torch.where(x > 0, torch.ones_like(x), torch.exp(x))


@equals(F.softplus)
class Softplus(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.log1p(torch.exp(-x.abs())) + x.clamp(min=0)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * torch.sigmoid(x)


@equals(torch.exp)
class ExpSetupContext(Function):
    @staticmethod
    def forward(x):
        return torch.exp(x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * y


@equals(torch.square)
class SquareVmap(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 2 * x * grad


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


@equals(F.binary_cross_entropy_with_logits, lambda g: (*normal((6, 2))(g), torch.rand(6, 2, generator=g).double()))
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


@equals(lambda x: F.softmax(x, -1))
class Softmax(Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.exp(x - x.amax(-1, keepdim=True))
        y = y / y.sum(-1, keepdim=True)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return y * (grad - (grad * y).sum(-1, keepdim=True))


@equals(lambda x: F.log_softmax(x, -1))
class LogSoftmax(Function):
    @staticmethod
    def forward(ctx, x):
        y = x - x.logsumexp(-1, keepdim=True)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad - y.exp() * grad.sum(-1, keepdim=True)


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


@equals(torch.exp)
class ExpInNumPy(Function):
    @staticmethod
    def forward(ctx, x):
        y = np.exp(x.detach().numpy())
        ctx.save_for_backward(torch.from_numpy(y))
        return torch.from_numpy(y)

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return torch.from_numpy(grad.detach().numpy() * y.numpy())


@equals(lambda x: (x.sin(), x.cos()))
class SinCos(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin(), x.cos()

    @staticmethod
    def backward(ctx, of_sin, of_cos):
        (x,) = ctx.saved_tensors
        return of_sin * x.cos() - of_cos * x.sin()


@equals(lambda x: (x.sin(), x.cos()))
class SinCosWithoutZeros(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        ctx.set_materialize_grads(False)
        return x.sin(), x.cos()

    @staticmethod
    def backward(ctx, of_sin, of_cos):
        (x,) = ctx.saved_tensors
        grad = torch.zeros_like(x)
        if of_sin is not None:
            grad = grad + of_sin * x.cos()
        if of_cos is not None:
            grad = grad - of_cos * x.sin()
        return grad


@equals(lambda x: (x.max(1).values, x.argmax(1)))
class MaxWithIndices(Function):
    @staticmethod
    def forward(ctx, x):
        values, indices = x.max(1)
        ctx.shape = x.shape
        ctx.save_for_backward(indices)
        ctx.mark_non_differentiable(indices)
        return values, indices

    @staticmethod
    def backward(ctx, grad, _):
        (indices,) = ctx.saved_tensors
        return torch.zeros(ctx.shape, dtype=grad.dtype).scatter(1, indices[:, None], grad[:, None])


@equals(torch.mul, normal((4, 3), (3,)))
class BroadcastMul(Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        return (grad * b).sum_to_size(a.shape), (grad * a).sum_to_size(b.shape)


@equals(lambda x: x**3, lambda g: (*normal((4, 3))(g), 3))
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


ORDINARY["Power"] = ORDINARY["Power"]._replace(builtin=torch.pow)


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


@equals(lambda x: x.cumsum(0))
class CumSum(Function):
    @staticmethod
    def forward(ctx, x):
        return x.cumsum(0)

    @staticmethod
    def backward(ctx, grad):
        return grad.flip(0).cumsum(0).flip(0)


@equals(lambda x: x.t().clone())
class Transpose(Function):
    @staticmethod
    def forward(ctx, x):
        return x.t().contiguous()

    @staticmethod
    def backward(ctx, grad):
        return grad.t()


@equals(lambda x: x.sum())
class Sum(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.shape = x.shape
        return x.sum()

    @staticmethod
    def backward(ctx, grad):
        return grad.expand(ctx.shape)


@equals(lambda x: x.norm())
class Norm(Function):
    @staticmethod
    def forward(ctx, x):
        n = x.norm()
        ctx.save_for_backward(x, n)
        return n

    @staticmethod
    def backward(ctx, grad):
        x, n = ctx.saved_tensors
        return torch.where(n == 0, torch.zeros_like(x), grad * x / n)


@equals(torch.abs)
class Abs(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.abs()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * torch.sign(x)


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


@torch.library.custom_op("scratchnet_tests::exp", mutates_args=())
def exp_op(x: Tensor) -> Tensor:
    return x.exp()


@exp_op.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


exp_op.register_autograd(
    lambda ctx, grad: grad * ctx.saved_tensors[0],
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(output),
)
ORDINARY["custom_op"] = Ordinary(exp_op, torch.exp, normal((4, 3)))


@equals(lambda z: z * z.conj(), lambda g: (torch.complex(*normal((3,), (3,))(g)),))
class SquaredModulus(Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z * z.conj()

    @staticmethod
    def backward(ctx, grad):
        (z,) = ctx.saved_tensors
        return z * (grad + grad.conj())


@equals(lambda x: {"sin": x.sin(), "count": x.shape[0]})
def a_dict(x):
    return {"sin": x.sin(), "count": len(x)}
