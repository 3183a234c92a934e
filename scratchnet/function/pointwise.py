"""Ops that act on each element, of which the author writes a value and a slope or a chain rule."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from scratchnet.function.base import Function
from scratchnet.function.precision import LOW_PRECISION
from scratchnet.function.recording import recorded, replayed, traced, transformed
from scratchnet.kernels import enabled, kernel
from scratchnet.layout import strided_beside
from scratchnet.tiling.program import rehearsing
from scratchnet.tiling.tiles import tilewise

__all__ = ["Elementwise", "clipped", "elementwise", "in_elementwise_strides"]


def elementwise(
    mathematics: Callable[..., Tensor],
    *tensors: Tensor,
    out: Tensor | None = None,
    like: Sequence[Tensor] | None = None,
    **options: Any,
) -> Tensor:
    """``mathematics(*tensors, **options)``, which acts on each element, in tiles where nothing records it.

    The mathematics is a function of a module or class, not made anew for each call. It is run once as a rehearsal,
    and then decides by `recorded` alone what it does; ``out`` may be given under the same condition. The result has
    the strides of an elementwise operation on the tensors, or on those of ``like``, the first of which decides most.
    float16 and bfloat16 are computed in float32, tile by tile, so that no tensor is ever held in float32 as a whole.
    """
    if not recorded() and not rehearsing():
        if enabled():
            result = _in_kernel(mathematics, tensors, options)
            if result is not None:
                return in_elementwise_strides(result, like or tensors) if out is None else out.copy_(result)
        result = tilewise(mathematics, tensors, options, out, like)
        if result is not None:
            return result
    low = tensors[0].dtype in LOW_PRECISION
    result = _rounded_once(mathematics, tensors, options) if low else mathematics(*tensors, **options)
    if out is not None:
        return out.copy_(result)
    return result if like is None or result is None else in_elementwise_strides(result, like)


def _rounded_once(
    mathematics: Callable[..., Tensor], tensors: Sequence[Tensor], options: dict[str, Any]
) -> Tensor:
    return mathematics(*[t.float() for t in tensors], **options).to(tensors[0].dtype)


@cache
def _rounding_once(mathematics: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda *tensors, **options: _rounded_once(mathematics, tensors, options)


def _in_kernel(
    mathematics: Callable[..., Tensor], tensors: Sequence[Tensor], options: dict[str, Any]
) -> Tensor | None:
    """Runs the mathematics as a compiled kernel on flat tensors of one shape, None where kernels are of no use."""
    shape = tensors[0].shape
    if not all(t.is_contiguous() and t.shape == shape for t in tensors):
        return None
    flat = [t.view(-1) for t in tensors]
    low = tensors[0].dtype in LOW_PRECISION
    compiled = kernel(_rounding_once(mathematics) if low else mathematics, flat, options)
    if compiled is None:
        return None
    result: Tensor = compiled(*flat).view(shape)
    return result


def in_elementwise_strides(y: Tensor, like: Sequence[Tensor]) -> Tensor:
    """Returns ``y`` in the strides of an elementwise operation on ``like``; under a transform or a trace, as it is."""
    if torch.compiler.is_compiling() or transformed() or traced():
        return y
    return strided_beside(like, y)


def clipped(x: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """``x.clamp(low, high)``, with slope 0 at the ends as well."""
    if not replayed():
        return x.clamp(low, high)
    if low is not None:
        x = torch.where(x <= low, low, x)
    return x if high is None else torch.where(x >= high, high, x)


class Elementwise(Function):
    """An op of one tensor that acts on each element: the author writes its value, and its slope or its chain rule.

    ``value(x, *, …)`` is the output and ``slope(x, *, …)`` the derivative, which backward multiplies the gradient by
    and forward mode the tangent. Where a piece is flat its slope is 0, and 0 · inf is NaN: an op of several pieces
    writes ``chain(x, v, *, …)`` instead, ``v`` times the slope, and selects what each piece makes of ``v``, so that
    a flat one sends back 0 whatever comes from above.

    Keeps its input or, with ``slope_from_output``, its output, which slope and chain rule then receive as ``x``.
    The gradient has the strides of an operation on the upstream gradient and ``x``, in the other order with
    ``gradient_follows_input``.
    """

    native_low_precision = True  # `elementwise` rounds once
    gradient_follows_input: ClassVar[bool] = False
    slope_from_output: ClassVar[bool] = False
    value: ClassVar[Callable[..., Tensor]]
    slope: ClassVar[Callable[..., Tensor]]
    chain: ClassVar[Callable[..., Tensor]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Derives forward, backward and jvp."""
        value, from_output, input_first = cls.value, cls.slope_from_output, cls.gradient_follows_input
        cls.keeps_output = from_output
        chain = cls.chain if hasattr(cls, "chain") else _chain_of(cls.slope)

        def forward(x: Tensor, **options: Any) -> tuple[Tensor, tuple[Tensor]]:
            y = elementwise(value, x, **options)
            return y, (y if from_output else x,)

        def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], **options: Any) -> Tensor:
            like = (saved[0], grad) if input_first else (grad, saved[0])
            return elementwise(chain, saved[0], grad, like=like, **options)

        def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], **options: Any) -> Tensor:
            return elementwise(chain, saved[0], tangents[0], **options)

        # What `inspect.signature` reads; functions have no such attribute in their type.
        forward.__signature__ = inspect.signature(value)  # type: ignore[attr-defined]
        for method in (forward, backward, jvp):
            setattr(cls, method.__name__, staticmethod(method))
        super().__init_subclass__(**kwargs)


def _chain_of(slope: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The chain rule: the slope times what comes."""

    def chain(x: Tensor, v: Tensor, **options: Any) -> Tensor:
        return slope(x, **options) * v

    return chain
