"""Rows: the last dimensions of a tensor, over which layer and root-mean-square normalization run."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from scratchnet.arguments import describe, tensor

__all__ = ["check_rows"]


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
        TypeError: if a parameter is no tensor.
        RuntimeError: if a shape does not fit, or ``too_few`` if the input has too few dimensions.
    """
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
