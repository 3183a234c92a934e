r"""The base of losses that act on each element: their authors write a value and one slope for each tensor.

With tensors of one shape, a loss l and its slopes, the three methods of every such Function are

.. math::
    L = \operatorname{reduce} l(x, t, \dots)
    \qquad \frac{\partial L}{\partial x} = \frac{\partial l}{\partial x} \operatorname{unreduce} g
    \qquad \dot L = \operatorname{reduce} \sum \frac{\partial l}{\partial x} \dot x

where reduce is the mean, the sum or nothing, and unreduce, its adjoint, hands the gradient g to each element.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, tensor
from scratchnet.function import Autocast, Function, elementwise
from scratchnet.losses.reduction import reduce, unreduce

__all__ = ["PointwiseLoss", "aligned", "numbers", "pair", "promoted_together"]

Slope = Tensor | None


class PointwiseLoss(Function):
    """A loss of each element of its tensors, reduced. Saves its tensors.

    ``value(*tensors, **options)`` is the loss of each element, ``slopes(*tensors, needs, **options)`` its
    derivative by each tensor, None where it is not needed or the tensor is a constant; `elementwise` plans their
    memory. The Function has one option more than they do, ``reduction``, the last one. A method that a subclass
    writes itself stays. Gradients are contiguous for the reductions of ``contiguous_for``, as the built-in's are.
    """

    autocast: ClassVar[Autocast | None] = "float32"
    contiguous_for: ClassVar[Sequence[str]] = ()
    value: ClassVar[Callable[..., Tensor]]
    slopes: ClassVar[Callable[..., Sequence[Slope]]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Derives forward, backward and jvp from the value and the slopes."""
        value, slopes, contiguous_for = cls.value, cls.slopes, cls.contiguous_for

        def forward(*tensors: Tensor, reduction: str, **options: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
            return reduce(elementwise(value, *tensors, **options), reduction), tensors

        def part(*tensors: Tensor, index: int, **options: Any) -> Any:
            needs = [i == index for i in range(len(tensors) - 1)]
            slope = slopes(*tensors[:-1], needs=needs, **options)[index]
            return None if slope is None else slope * tensors[-1]

        def backward(
            grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, reduction: str, **options: Any
        ) -> tuple[Slope, ...]:
            shape = saved[0].shape
            scale = unreduce(grad, saved[0], reduction).expand(shape)
            like = (saved[0].new_empty(shape),) if reduction in contiguous_for else (scale, *saved)
            return tuple(
                elementwise(part, *saved, scale, like=like, index=i, **options) if need else None
                for i, need in enumerate(needs)
            )

        def jvp(tangents: Sequence[Slope], saved: Sequence[Tensor], *, reduction: str, **options: Any) -> Tensor:
            needs = [
                t is not None and (x.is_floating_point() or x.is_complex())
                for t, x in zip(tangents, saved, strict=True)
            ]
            found = zip(slopes(*saved, needs=needs, **options), tangents, strict=True)
            changes = [slope * tangent for slope, tangent in found if slope is not None and tangent is not None]
            return reduce(sum(changes[1:], changes[0]), reduction)

        parameters = list(inspect.signature(value).parameters.values())
        last = inspect.Parameter("reduction", inspect.Parameter.KEYWORD_ONLY)
        # What `inspect.signature` reads; functions have no such attribute in their type.
        forward.__signature__ = inspect.Signature([*parameters, last])  # type: ignore[attr-defined]
        for method in (forward, backward, jvp):
            if method.__name__ not in cls.__dict__:
                setattr(cls, method.__name__, staticmethod(method))
        super().__init_subclass__(**kwargs)


def pair(
    op: str, input: Tensor, target: Tensor, complex: bool = False, integer: bool = False
) -> tuple[Tensor, Tensor]:
    """Returns input and target in one shape and the wider dtype, with a warning where the shapes differ.

    Raises:
        TypeError: if one of them is no tensor.
        NotImplementedError: if neither is floating point, nor of a kind that the loss takes besides.
        RuntimeError: if the shapes cannot be broadcast.
    """
    x, target = tensor(op, input), tensor(op, target, "target")
    if x.shape != target.shape:
        warnings.warn(
            f"{op}: expected a target of the input's shape {tuple(x.shape)}, got {tuple(target.shape)}; they are "
            "broadcast, which is seldom what is meant",
            stacklevel=4,
        )
    dtype = torch.promote_types(x.dtype, target.dtype)
    if not (dtype.is_floating_point or (complex if dtype.is_complex else integer and dtype is not torch.bool)):
        raise NotImplementedError(
            f"{op}: expected floating-point numbers, got {describe(x)} and {describe(target)}; use .float()"
        )
    if x.dtype is not target.dtype:
        x, target = x.to(dtype), target.to(dtype)
    return torch.broadcast_tensors(x, target) if x.shape != target.shape else (x, target)


def numbers(op: str, **tensors: Tensor) -> dict[str, Tensor]:
    """The tensors, known not to be boolean: PyTorch does not subtract these."""
    return {n: floating(op, x, n, error=RuntimeError, complex=True, integer=True) for n, x in tensors.items()}


def promoted_together(op: str, *tensors: Tensor, complex: bool = False) -> list[Tensor]:
    """Returns the tensors in the widest dtype among them, or the default one where none is floating point.

    Raises:
        NotImplementedError: if that is complex and the loss does not take it.
    """
    dtype = tensors[0].dtype
    for other in tensors[1:]:
        dtype = torch.promote_types(dtype, other.dtype)
    if dtype.is_complex and not complex:
        raise NotImplementedError(
            f"{op}: expected real numbers, got {', '.join(map(describe, tensors))}; use .abs()"
        )
    dtype = dtype if dtype.is_floating_point or dtype.is_complex else torch.get_default_dtype()
    return [x.to(dtype) for x in tensors]


def aligned(op: str, **tensors: Tensor) -> list[Tensor]:
    """The tensors, known to be tensors, broadcast to one shape.

    Raises:
        TypeError: if one of them is no tensor.
        RuntimeError: if the shapes cannot be broadcast.
    """
    given = [tensor(op, value, name) for name, value in tensors.items()]
    if all(x.shape == given[0].shape for x in given):
        return given
    try:
        return list(torch.broadcast_tensors(*given))
    except RuntimeError as error:
        shapes = ", ".join(f"{name} of shape {tuple(x.shape)}" for name, x in tensors.items())
        raise RuntimeError(f"{op}: expected shapes that broadcast together, got {shapes}") from error
