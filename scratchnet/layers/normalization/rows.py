"""Rows: the last dimensions of a tensor, over which layer and root-mean-square normalization run."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

from torch import Tensor

from scratchnet.arguments import describe, tensor

__all__ = ["check_rows", "whole"]


def whole(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    """The sizes of the normalized dimensions, of which a single one may come as a number."""
    if isinstance(normalized_shape, int | Integral):
        return (int(normalized_shape),)
    return tuple(normalized_shape)


def check_rows(
    op: str,
    input: Tensor,
    normalized_shape: Sequence[int],
    *,
    too_few: type[Exception] = RuntimeError,
    **parameters: Tensor | None,
) -> tuple[int, ...]:
    """The normalized shape, known to end the input's shape and to be that of each parameter.

    Raises:
        TypeError: if it is no sequence of integers, or a parameter no tensor.
        RuntimeError: if a shape does not fit, or ``too_few`` if the input has too few dimensions.
    """
    if not isinstance(normalized_shape, Sequence) or not all(isinstance(n, int) for n in normalized_shape):
        raise TypeError(
            f"{op}: expected normalized_shape to be a tuple of integers, got {normalized_shape!r}; "
            "one dimension is written (n,)"
        )
    shape = tuple(normalized_shape)
    if not shape:
        raise RuntimeError(f"{op}: expected normalized_shape to name at least one dimension, got ()")
    if tuple(input.shape[-len(shape) :]) != shape:
        wanted = ", ".join(map(str, shape))
        error = too_few if input.dim() < len(shape) else RuntimeError
        raise error(f"{op}: expected input of shape (*, {wanted}), got {describe(input)}")
    for name, parameter in parameters.items():
        if parameter is not None and tuple(tensor(op, parameter, name).shape) != shape:
            raise RuntimeError(f"{op}: expected {name} of shape {shape}, got {describe(parameter)}")
    return shape
