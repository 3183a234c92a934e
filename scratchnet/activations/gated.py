r"""Activations that multiply the input by a gate: SiLU, Mish, the gated linear unit and SwiGLU.

.. math::
    \operatorname{silu}(x) = x\,\sigma(x) \qquad \frac{dy}{dx} = \sigma(x) \bigl(1 + x\,\sigma(-x)\bigr)

.. math::
    \operatorname{mish}(x) = x\,t(x), \quad t = \tanh \log(1 + e^x) = \frac{e^x (e^x + 2)}{e^x (e^x + 2) + 2}
    \qquad \frac{dy}{dx} = t + x\,\frac{4 e^x (e^x + 1)}{(e^x (e^x + 2) + 2)^2}

.. math::
    \operatorname{glu}(a, b) = a \odot \sigma(b)
    \qquad \frac{\partial y}{\partial a} = \sigma(b)
    \qquad \frac{\partial y}{\partial b} = a \odot \sigma(b) (1 - \sigma(b))

.. math::
    \operatorname{swiglu}(a, b) = a \odot \operatorname{silu}(b)

SiLU (swish) and Mish gate themselves: smooth, unbounded above, and with a dip below zero on the left, so that the
sign of the slope changes once. GLU gates one half of its input, a, by the other, b;
SwiGLU has a and b as two inputs, projections of one in transformers. Written as a quotient the gate
of Mish needs one exponential, and loses no digits where it is small. At -∞ SiLU and Mish are 0, their limit.

Sources: Elfwing, Uchibe and Doya 2018 and Ramachandran, Zoph and Le 2017 (SiLU); Misra, "Mish: A Self Regularized
Non-Monotonic Activation Function", 2019; Dauphin, Fan, Auli and Grangier, "Language Modeling with Gated
Convolutional Networks", ICML 2017 (GLU); Shazeer, "GLU Variants Improve Transformer", 2020 (SwiGLU).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.activations.sigmoid import RIGHT, LogisticFunction, LogisticSlopeFunction, bounded
from scratchnet.arguments import describe, floating, overridable, tensor
from scratchnet.function import Elementwise, Function, dispatch, elementwise, overwrite

__all__ = ["GLUFunction", "MishFunction", "SiLUFunction", "SwiGLUFunction", "glu", "mish", "silu", "swiglu"]


class SiLUFunction(Elementwise):
    """x σ(x). Saves its input."""

    @staticmethod
    def value(x: Tensor) -> Tensor:
        """x / (1 + exp(-x)), the input times its sigmoid."""
        x = bounded(x, math.inf)
        return x / (1 + torch.exp(-x))

    @staticmethod
    def slope(x: Tensor) -> Tensor:
        return SiLUSlopeFunction.apply(x)


class SiLUSlopeFunction(Elementwise):
    """σ(x) (1 + x σ(-x)), the slope of SiLU. Saves its input."""

    @staticmethod
    def value(x: Tensor) -> Tensor:
        """Takes 1 - σ(x) for σ(-x), which has digits enough beside 1."""
        gate = LogisticFunction.apply(x)
        return torch.addcmul(gate, bounded(x, RIGHT), gate * (1 - gate))

    @staticmethod
    def slope(x: Tensor) -> Tensor:
        """σ' (2 + x (σ(-x) - σ(x)))."""
        tilt = LogisticFunction.apply(-x) - LogisticFunction.apply(x)
        return LogisticSlopeFunction.apply(x) * (2 + bounded(x) * tilt)


class MishGateFunction(Elementwise):
    """t = tanh(log(1 + exp x)), the gate of Mish. Saves its input."""

    @staticmethod
    def value(x: Tensor) -> Tensor:
        """n / (n + 2), n = exp x (exp x + 2)."""
        e = torch.exp(x.clamp(max=_last_square(x.dtype)))
        n = (e + 2) * e
        return n / (n + 2)

    @staticmethod
    def slope(x: Tensor) -> Tensor:
        return MishGateSlopeFunction.apply(x)


class MishGateSlopeFunction(Elementwise):
    """t', the slope of the gate of Mish, with all its digits in both tails. Its own slope is t' (σ(-x) - 2 t σ(x))."""

    @staticmethod
    def value(x: Tensor) -> Tensor:
        """4 exp x (exp x + 1) / (n + 2)²."""
        last = _last_square(x.dtype)
        e = torch.exp(x.clamp(max=last))
        inverse = torch.reciprocal((e + 2) * e + 2)
        return torch.where(x > last, 0, 4 * ((e + 1) * inverse * (e * inverse)))

    @staticmethod
    def slope(x: Tensor) -> Tensor:
        twice = 2 * MishGateFunction.apply(x) * LogisticFunction.apply(x)
        return MishGateSlopeFunction.apply(x) * (LogisticFunction.apply(-x) - twice)


def _last_square(dtype: torch.dtype) -> float:
    """Up to which x the square of exp x is finite, and e times larger."""
    return 0.5 * math.log(torch.finfo(dtype).max) - 0.5


class MishFunction(Elementwise):
    """x tanh(log(1 + exp x)). Saves its input."""

    @staticmethod
    def value(x: Tensor) -> Tensor:
        """The input times its gate."""
        return MishGateFunction.apply(x) * bounded(x, math.inf)

    @staticmethod
    def slope(x: Tensor) -> Tensor:
        """The gate, and the input times the gate's slope."""
        return torch.addcmul(MishGateFunction.apply(x), bounded(x), MishGateSlopeFunction.apply(x))


class GLUFunction(Function):
    """The first half along a dimension times the sigmoid of the second. Saves its input."""

    @staticmethod
    def forward(x: Tensor, *, dim: int) -> tuple[Tensor, tuple[Tensor]]:
        """a σ(b)."""
        return elementwise(_gated, *x.chunk(2, dim)), (x,)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, dim: int) -> Tensor:
        """Multiplies the upstream by the gate for a, and by a times the gate's slope for b."""
        (x,) = saved
        a, b = x.chunk(2, dim)
        return _both_gradients(grad, a, b, dim)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, dim: int) -> Tensor:
        """Product rule."""
        a, b = saved[0].chunk(2, dim)
        tangent_a, tangent_b = tangents[0].chunk(2, dim)
        return _gated(tangent_a, b) + _through_gate(tangent_b, a, b)


def _gated(a: Tensor, b: Tensor) -> Tensor:
    """a σ(b)."""
    return a * LogisticFunction.apply(b)


def _through_gate(v: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """v times what a gate that opens makes of a."""
    return v * (a * LogisticSlopeFunction.apply(b))


def _side_by_side(grad: Tensor, a: Tensor, b: Tensor, dim: int) -> Tensor:
    shape = [*a.shape]
    shape[dim] *= 2
    result = a.new_empty(shape)
    grad_a, grad_b = result.chunk(2, dim)
    elementwise(_gated, grad, b, out=grad_a)
    elementwise(_through_gate, grad, a, b, out=grad_b)
    return result


@dispatch(_side_by_side)
def _both_gradients(grad: Tensor, a: Tensor, b: Tensor, dim: int) -> Tensor:
    return torch.cat([_gated(grad, b), _through_gate(grad, a, b)], dim)


class SwiGLUFunction(Function):
    """a silu(b). Saves its inputs."""

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        return elementwise(_swished, a, b), (a, b)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool]) -> tuple[Tensor | None, ...]:
        a, b = saved
        grad_a = elementwise(_swished, grad, b) if needs[0] else None
        return grad_a, elementwise(_through_swish, grad, a, b) if needs[1] else None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor]) -> Tensor:
        a, b = saved
        return _swished(tangents[0], b) + _through_swish(tangents[1], a, b)


def _swished(a: Tensor, b: Tensor) -> Tensor:
    return a * SiLUFunction.apply(b)


def _through_swish(v: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return v * a * SiLUSlopeFunction.apply(b)


@overridable
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """The input times its sigmoid, also called swish.

    Args:
        input: floating-point tensor of any shape.
        inplace: overwrite ``input`` with the result.

    Returns:
        A tensor of the same shape.

    Raises:
        TypeError: if ``input`` is no tensor.
        NotImplementedError: if ``input`` is not floating point.
    """
    x = floating("silu", input, complex=True)
    return overwrite(SiLUFunction, x) if inplace else SiLUFunction.apply(x)


@overridable
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """The input times the hyperbolic tangent of its softplus.

    Args:
        input: floating-point tensor of any shape.
        inplace: overwrite ``input`` with the result.

    Returns:
        A tensor of the same shape.

    Raises:
        TypeError: if ``input`` is no tensor.
        NotImplementedError: if ``input`` is not floating point.
    """
    x = floating("mish", input)
    return overwrite(MishFunction, x) if inplace else MishFunction.apply(x)


@overridable
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half of the input along a dimension times the sigmoid of the second half.

    Args:
        input: floating-point tensor of shape ``(…, 2 * features, …)``.
        dim: the dimension to halve.

    Returns:
        A tensor of shape ``(…, features, …)``.

    Raises:
        TypeError: if ``input`` is no tensor, or ``dim`` no integer.
        NotImplementedError: if ``input`` is not floating point.
        IndexError: if ``dim`` is out of range.
        RuntimeError: if ``input`` has no dimension, or the dimension cannot be halved.
    """
    x = tensor("glu", input)
    if x.dim() == 0:
        raise RuntimeError(f"glu: expected at least one dimension, to halve it, got {describe(x)}")
    if not -x.dim() <= dim < x.dim():
        raise IndexError(f"glu: expected dim between {-x.dim()} and {x.dim() - 1}, got {dim} for {describe(x)}")
    if x.shape[dim] % 2:
        raise RuntimeError(f"glu: expected an even number of elements along dimension {dim}, got {describe(x)}")
    return GLUFunction.apply(floating("glu", x), dim % x.dim())


@overridable
def swiglu(input: Tensor, gate: Tensor) -> Tensor:
    """The input times the SiLU of a gate, whose shapes broadcast.

    Raises:
        TypeError: if either is no tensor.
        NotImplementedError: if either is not floating point.
        RuntimeError: if the shapes do not broadcast.
    """
    a, b = floating("swiglu", input), floating("swiglu", gate, "gate")
    dtype = torch.promote_types(a.dtype, b.dtype)
    return SwiGLUFunction.apply(*torch.broadcast_tensors(a.to(dtype), b.to(dtype)))
