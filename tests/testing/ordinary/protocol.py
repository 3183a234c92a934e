"""Right Functions that use what autograd offers: several outputs, None, marks, views, custom operators."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .entry import ORDINARY, Ordinary, equals, normal


@equals(torch.exp, short=False)
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


@equals(
    lambda z: z * z.conj(),
    lambda g: (torch.complex(*normal((3,), (3,))(g)),),
    short=False,
)
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


@equals(lambda x: x.reshape(-1))
class View(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.shape = x.shape
        return x.view(-1) if x.is_contiguous() else x.reshape(-1)

    @staticmethod
    def backward(ctx, grad):
        return grad.reshape(ctx.shape)


@equals(lambda x: x[:, :2])
class Slice(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.shape = x.shape
        return x[:, :2]

    @staticmethod
    def backward(ctx, grad):
        whole = grad.new_zeros(ctx.shape)
        whole[:, :2] = grad
        return whole


@equals(torch.matmul, lambda g: (normal((4, 3))(g)[0].requires_grad_(), *normal((3, 2))(g)))
class FrozenWeight(Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(w)
        return x @ w

    @staticmethod
    def backward(ctx, grad):
        (w,) = ctx.saved_tensors
        return grad @ w.t(), None


@equals(lambda a, b: a * np.float64(2.0) + b.sin(), normal((4, 3), (4, 3)), short=False)
class NumPyOfTwo(Function):
    @staticmethod
    def forward(ctx, a, b):
        a, b = a.detach(), b.detach()
        ctx.save_for_backward(b)
        return torch.as_tensor(a.numpy() * 2 + np.sin(b.numpy()))

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (b,) = ctx.saved_tensors
        return 2 * grad, torch.as_tensor(grad.numpy() * np.cos(b.numpy()))


@equals(lambda x: torch.fft.rfft(x), short=False)
class FourierInNumPy(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.length = x.shape[-1]
        found = torch.as_tensor(np.fft.rfft(x.detach().numpy()))
        return found.to(x.dtype.to_complex())

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        whole = torch.zeros(*grad.shape[:-1], ctx.length, dtype=grad.dtype)
        whole[..., : grad.shape[-1]] = grad
        return torch.fft.ifft(whole, norm="forward").real


@equals(torch.mul, lambda g: tuple(torch.complex(*normal((3,), (3,))(g)) for _ in range(2)), short=False)
class ComplexProduct(Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        return grad * b.conj(), grad * a.conj()


@equals(torch.abs, lambda g: (torch.complex(*normal((3,), (3,))(g)),), short=False)
class Modulus(Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z.abs()

    @staticmethod
    def backward(ctx, grad):
        (z,) = ctx.saved_tensors
        return grad * torch.sgn(z)


@equals(torch.exp, lambda g: (torch.complex(*normal((3,), (3,))(g)),), short=False)
class ComplexExp(Function):
    @staticmethod
    def forward(ctx, z):
        y = z.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * y.conj()


@torch.library.custom_op("scratchnet_tests::scaled", mutates_args=())
def scaled_op(x: Tensor, weight: Tensor, power: int) -> tuple[Tensor, Tensor]:
    scale = weight**power
    return x * scale, x + weight


@scaled_op.register_fake
def _(x: Tensor, weight: Tensor, power: int) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(x)


def scaled_setup(ctx, inputs, output):
    x, weight, ctx.power = inputs
    ctx.save_for_backward(x, weight)


def scaled_backward(ctx, of_product, of_sum):
    x, weight = ctx.saved_tensors
    slope = ctx.power * weight ** (ctx.power - 1)
    of_weight = (of_product * x * slope + of_sum).sum(0) if ctx.needs_input_grad[1] else None
    return of_product * weight**ctx.power + of_sum, of_weight, None


scaled_op.register_autograd(scaled_backward, setup_context=scaled_setup)


@equals(lambda x, w, p: (x * w**p, x + w), lambda g: (*normal((4, 3), (3,))(g), 3))
def custom_op_of_two(x, weight, power):
    return scaled_op(x, weight, power)


@equals(lambda x: x.sort(descending=True))
class Sort(Function):
    @staticmethod
    def forward(ctx, x):
        values, places = x.sort(descending=True)
        ctx.mark_non_differentiable(places)
        ctx.save_for_backward(places)
        return values, places

    @staticmethod
    def backward(ctx, grad, _):
        (places,) = ctx.saved_tensors
        return torch.zeros_like(grad).scatter(-1, places, grad)


@equals(lambda x, w: (x * w, x + w), normal((4, 3), (4, 3)))
class UnusedOutputs(Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, w)
        return x * w, x + w

    @staticmethod
    def backward(ctx, of_product, of_sum):
        x, w = ctx.saved_tensors
        found = [None, None]
        for i, other in enumerate((w, x)):
            if ctx.needs_input_grad[i]:
                terms = [] if of_product is None else [of_product * other]
                terms += [] if of_sum is None else [of_sum]
                found[i] = sum(terms) if terms else None
        return tuple(found)


def scaled_by(factor):
    """A Function made where it is used, around what it closes over."""

    class Scaled(Function):
        @staticmethod
        def forward(ctx, x):
            return x * factor

        @staticmethod
        def backward(ctx, grad):
            return grad * factor

    return Scaled.apply


ORDINARY["made in a function"] = Ordinary(scaled_by(3.0), lambda x: x * 3.0, normal((4, 3)))
