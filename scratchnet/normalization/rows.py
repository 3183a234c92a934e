"""Normalizes rows, which are some dimensions of a tensor, with their own mean and variance."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import describe, tensor
from scratchnet.function import reuse

__all__ = ["Dims", "center", "check_rows", "last_dims", "project", "standardize", "sum_rows"]

Dims = tuple[int, ...]


def standardize(x: Tensor, dims: Dims, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns x̂ = r (x - μ), and μ, the variance and r of each row."""
    centered, mean, var, rstd = center(x, dims, eps)
    return centered * rstd, mean, var, rstd


def center(x: Tensor, dims: Dims, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns x - μ, and μ, the variance and r of each row.

    The mean of what is left after a first mean is subtracted is its rounding error, which has no derivative; an
    infinite mean has none.
    """
    mean = x.mean(dims, keepdim=True)
    error = (x - mean).mean(dims, keepdim=True).detach()
    mean = mean + torch.where(error.abs() < math.inf, error, 0.0)
    centered = x - mean
    var = (centered * centered).mean(dims, keepdim=True)
    return centered, mean, var, (var + eps) ** -0.5


def project(h: Tensor, normal: Tensor, rstd: Tensor, dims: Dims) -> Tensor:
    """Multiplies by the Jacobian of x̂, which is symmetric: r (h - mean of h - x̂ · mean of h x̂)."""
    along = (h * normal).mean(dims, keepdim=True)
    left = torch.addcmul(h - h.mean(dims, keepdim=True), normal, along, value=-1)
    return reuse(torch.mul, left, rstd)


def sum_rows(x: Tensor, dims: Dims) -> Tensor:
    """Adds up all rows, which are the last dimensions."""
    others = tuple(range(x.dim() - len(dims)))
    return x.sum(others) if others else x


def last_dims(shape: Sequence[int]) -> Dims:
    """Returns the dimensions that end a tensor's shape with ``shape``."""
    return tuple(range(-len(shape), 0))


def check_rows(
    op: str,
    input: Tensor,
    normalized_shape: Sequence[int],
    *,
    too_few: type[Exception] = RuntimeError,
    **parameters: Tensor | None,
) -> tuple[int, ...]:
    """Returns the normalized shape, which must end the input's shape and be that of each parameter.

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
