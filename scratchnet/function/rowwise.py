"""Ops with sums and maxima along dimensions, which are evaluated on whole rows, as many at once as fit in cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from torch import Tensor

from scratchnet.function.base import Function
from scratchnet.function.recording import recorded
from scratchnet.kernels import kernel
from scratchnet.tiling.program import rehearsing
from scratchnet.tiling.rows import tile_rows

__all__ = ["Rowwise", "rowwise"]


def rowwise(
    mathematics: Callable[..., Any], *tensors: Tensor | None, overwritten: tuple[int, ...] = (), **options: Any
) -> Any:
    """Returns ``mathematics(*tensors, **options)``, in tiles of whole rows where nothing records it.

    The mathematics is a function of a module or class, of which `Rowwise` says what it may do. It returns a tensor or
    tuples of tensors and None, which may take the memory of the tensors at the places ``overwritten``: intermediate
    results that nobody reads afterwards.
    """
    result = NotImplemented
    if not (recorded() or rehearsing()):
        result = _fast(mathematics, tensors, options, overwritten)
    return result if result is not NotImplemented else mathematics(*tensors, **options)


def _fast(
    mathematics: Callable[..., Any],
    tensors: Sequence[Tensor | None],
    options: dict[str, Any],
    overwritten: tuple[int, ...] = (),
) -> Any:
    compiled = kernel(mathematics, tensors, options)
    if compiled is None:
        return tile_rows(mathematics, *tensors, overwritten=overwritten, **options)
    return compiled(*tensors)


class Rowwise(Function):
    """An op whose forward and backward act on elements and reduce along dimensions.

    The author writes them as for `Function`, plainly. Where nothing records the operations, they run tile by tile, in
    memory that they share; the outputs are then contiguous. For this they are run once as a rehearsal, on tensors of
    other sizes, so they ask no sizes: a mean is a `mean`, not a sum over a count. Tensors broadcast from the
    right, reduced dimensions are kept, and only a sum over the first dimensions may drop them.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Wraps forward and backward."""
        if "forward" in cls.__dict__:
            for name, wrap in (("forward", _forward), ("backward", _backward)):
                setattr(cls, name, staticmethod(wrap(getattr(cls, name))))
        super().__init_subclass__(**kwargs)


def _forward(mathematics: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(mathematics)
    def forward(*tensors: Tensor | None, **options: Any) -> Any:
        return rowwise(mathematics, *tensors, **options)

    return forward


def _contiguous(gradients: Any) -> Any:
    if isinstance(gradients, tuple):
        return tuple([None if g is None else g.contiguous() for g in gradients])
    return gradients.contiguous()


def _backward(mathematics: Callable[..., Any]) -> Callable[..., Any]:
    def flat(*tensors: Tensor | None, upstreams: int, needs: Sequence[bool], **options: Any) -> Any:
        grads, saved = tensors[:upstreams], tensors[upstreams:]
        return mathematics(grads if upstreams > 1 else grads[0], saved, needs, **options)

    @wraps(mathematics)
    def backward(grad: Any, saved: Sequence[Tensor | None], needs: Sequence[bool], **options: Any) -> Any:
        if recorded() or rehearsing():
            return mathematics(grad, saved, needs, **options)
        grads = (grad,) if isinstance(grad, Tensor) else grad
        result = _fast(flat, (*grads, *saved), {"upstreams": len(grads), "needs": needs, **options})
        return _contiguous(mathematics(grad, saved, needs, **options) if result is NotImplemented else result)

    return backward
