"""Evaluates a function chunk by chunk, so that what it computes on the way is never held all at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scratchnet.function.precision import LOW_PRECISION
from scratchnet.function.recording import recorded

__all__ = ["Product", "chunked", "rows_in_cache", "sharing_threads"]

Maybe = Tensor | None

CACHED = 2**18  # elements of an intermediate result: in float32 1 MiB, which stays in the cache with another


class Product(NamedTuple):
    """The product of two matrices, or batches of matrices, times a number, computed where it belongs."""

    a: Tensor
    b: Tensor
    scale: float = 1.0

    def whole(self) -> Tensor:
        """Returns the product, by operations that may be recorded."""
        product = self.a @ self.b
        return product if self.scale == 1 else self.scale * product

    def add_to(self, total: Tensor, beta: float = 1.0) -> None:
        """Adds the product to ``beta * total``, in place."""
        add = torch.Tensor.addmm_ if total.dim() == 2 else torch.Tensor.baddbmm_
        add(total, self.a, self.b, beta=beta, alpha=self.scale)


def rows_in_cache(elements: int) -> int:
    """Returns how many rows of so many elements, at least one, stay in the cache; all where nothing is cut."""
    return sys.maxsize if recorded() else max(1, CACHED // max(1, elements))


def sharing_threads() -> int:
    """Returns how many threads share a chunk; 1 where nothing is cut."""
    return 1 if recorded() else torch.get_num_threads()


def chunked(
    function: Callable[..., Any],
    *tensors: Maybe,
    size: int,
    dim: int = 0,
    added: Sequence[int] = (),
    **whole: Any,
) -> Any:
    """Returns ``function(*tensors, **whole)``, evaluated on chunks along a dimension where nothing records it.

    ::

        def squared_distances(x, *, y):                      # (N, M) numbers by way of (N, M, D)
            return (x.unsqueeze(1) - y).square().sum(2)

        chunked(squared_distances, x, y=y, size=rows_in_cache(y.numel()))

    Args:
        function: plain tensor mathematics; returns a new tensor, or a tuple of tensors, products and None.
        *tensors: split along the dimension, except those of size 1, which broadcast, and None.
        size: of a chunk along the dimension.
        dim: the dimension, along which the outputs are joined too.
        added: outputs to be added instead, as the gradient of what all chunks share.
        **whole: go to the function as they are.
    """
    if recorded():
        result = function(*tensors, **whole)
        if not isinstance(result, tuple):
            return result
        return tuple([y.whole() if isinstance(y, Product) else y for y in result])
    count = next(x.shape[dim] for x in tensors if x is not None)
    outputs: list[Any] = []
    for start in range(0, max(count, 1), size):
        length = min(size, count - start)
        result = function(*[_rows(x, dim, start, length, count) for x in tensors], **whole)
        several = isinstance(result, tuple)
        for i, y in enumerate(result if several else (result,)):
            if not start:
                outputs.append(_first(y, dim, None if i in added else count))
            elif i in added:
                outputs[i] = _sum(outputs[i], y)
            elif y is not None:
                _write(y, outputs[i].narrow(dim, start, length))
        del result, y  # before the next chunk takes as much memory
    return tuple(outputs) if several else outputs[0]


def _rows(x: Maybe, dim: int, start: int, length: int, count: int) -> Maybe:
    return x if x is None or length == count or x.shape[dim] == 1 else x.narrow(dim, start, length)


def _first(y: Tensor | Product | None, dim: int, count: int | None) -> Maybe:
    """Returns an output of as many rows, if that is given, which begins with the first chunk's."""
    if y is None or (isinstance(y, Tensor) and count in (None, y.shape[dim])):
        return y
    shape = [*y.a.shape[:-1], y.b.shape[-1]] if isinstance(y, Product) else list(y.shape)
    length = shape[dim]
    shape[dim] = length if count is None else count
    output = (y.a if isinstance(y, Product) else y).new_empty(shape)
    _write(y, output if shape[dim] == length else output.narrow(dim, 0, length))
    return output


def _write(y: Tensor | Product, place: Tensor) -> None:
    if isinstance(y, Product):
        y.add_to(place, beta=0)
    else:
        place.copy_(y)


def _sum(total: Maybe, y: Tensor | Product | None) -> Maybe:
    """Adds a chunk's output, in float32 at least."""
    if total is None or y is None:
        return None
    total = total.float() if total.dtype in LOW_PRECISION else total
    if isinstance(y, Product) and y.a.dtype is total.dtype:
        y.add_to(total)
        return total
    return total.add_(y.whole() if isinstance(y, Product) else y)
