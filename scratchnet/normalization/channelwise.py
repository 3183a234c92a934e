"""Arithmetic by channel: sums over each channel, and affine maps with one scale and one shift for each.

A tensor of shape ``(N, C, …)`` is seen as planes of shape ``(B, C, L)``. In the default layout B counts samples
and L positions; in channels-last memory B counts samples and positions together and L is 1. Both are views, so
one piece of code serves all layouts and dimensions. A vector of C numbers meets the planes as a column.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from scratchnet.function import dispatch, readable, reuse, rowwise
from scratchnet.layout import is_channels_last

__all__ = ["Planes", "affine", "centered_sums", "moments", "projected", "standardized"]

FEW = 2**17  # numbers; with twice as many, float64 takes as long as the corrections


class Planes:
    """How tensors of one shape and memory layout are seen as planes, and planes as such a tensor again."""

    def __init__(self, x: Tensor) -> None:
        self.shape = x.shape
        self.channels_last = is_channels_last(x)

    @property
    def count(self) -> int:
        """How many values each channel has; 1 where it has none, which spares an empty batch 0 / 0."""
        return max(1, self.shape[0] * math.prod(self.shape[2:]))

    def of(self, x: Tensor) -> Tensor:
        """The tensor as planes; one of another memory layout is copied."""
        if self.channels_last:
            return x.movedim(1, -1).reshape(-1, self.shape[1], 1)
        return x.reshape(*self.shape[:2], math.prod(self.shape[2:]))

    def back(self, planes: Tensor) -> Tensor:
        """Planes in the original shape."""
        planes = planes.contiguous()
        if self.channels_last:
            samples, channels, *space = self.shape
            return planes.reshape(samples, *space, channels).movedim(-1, 1)
        return planes.reshape(self.shape)


def _moments_of_few(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    if not _few(x):
        return NotImplemented
    wide = x.to(torch.float64, copy=True)
    mean = wide.mean((0, 2))
    var = wide.sub_(mean[:, None]).square_().mean((0, 2))
    return mean.to(x.dtype), var.to(x.dtype)


@dispatch(_moments_of_few)
def moments(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel of some planes.

    The variance is the mean square distance from the mean, not the difference of two large numbers. Where the mean is
    so large that its rounding error may count beside the deviation, that error, which has no derivative, is found as
    the mean distance, and taken off the variance. The mean keeps it: where it is small, what is found is how the
    differences were rounded, all of them alike. It is corrected where it may be all that the variance holds. Few
    numbers are added up in float64 instead.
    """
    mean = _total(x.sum(_inner(x), keepdim=True)) / count
    rounding = mean * (16 * torch.finfo(mean.dtype).eps)
    var = _average(_squares, x, mean, count)
    if readable(var) and bool((rounding * rounding <= torch.finfo(mean.dtype).eps * var).all()):
        return mean, var
    error = _average(_distances, x, mean, count)
    var = var - error * error
    lost = (var <= rounding * rounding) & (mean != 0)
    if readable(lost) and not bool(lost.any()):
        return mean, var
    mean = torch.where(lost, mean + error.detach(), mean)
    return mean, _average(_squares, x, mean, count) - _average(_distances, x, mean, count) ** 2


def _average(of: Callable[..., Tensor], x: Tensor, mean: Tensor, count: int) -> Tensor:
    """The average of the distances from the mean, or of their squares, in each channel."""
    return _total(rowwise(of, x, mean[:, None], dim=_inner(x))) / count


def _distances(x: Tensor, mean: Tensor, *, dim: int) -> Tensor:
    return (x - mean).sum(dim, keepdim=True)


def _squares(x: Tensor, mean: Tensor, *, dim: int) -> Tensor:
    centered = x - mean
    return reuse(torch.mul, centered, centered).sum(dim, keepdim=True)


def _centered_sums_of_few(grad: Tensor, x: Tensor, mean: Tensor, rstd: Tensor) -> tuple[Tensor, Tensor]:
    if not _few(x):
        return NotImplemented
    wide = grad.to(torch.float64, copy=True)
    total = wide.sum((0, 2))
    aligned = wide.mul_(x.double() - mean[:, None]).sum((0, 2))
    return total.to(x.dtype), aligned.to(x.dtype)


@dispatch(_centered_sums_of_few)
def centered_sums(grad: Tensor, x: Tensor, mean: Tensor, rstd: Tensor) -> tuple[Tensor, Tensor]:
    """Σ g and Σ g (x - mean) over each channel of some planes.

    Less the mean, all values of a binade are rounded alike, and the second sum adds that up. So it is taken less a
    number nearby, of so few digits that hardly any difference is rounded, and corrected by the first. Which number
    that is changes nothing, so it has no derivative.
    """
    grid = torch.exp2(-20 - torch.log2(rstd.detach()).ceil())
    near = torch.round(mean.detach() / grid) * grid
    near = torch.where(near.isfinite(), near, mean)  # of a variance that is 0 or infinite there is no grid
    total, aligned = (_total(sums) for sums in rowwise(_products, grad, x, near[:, None], dim=_inner(x)))
    return total, aligned + total * (near - mean)


def _products(grad: Tensor, x: Tensor, near: Tensor, *, dim: int) -> tuple[Tensor, Tensor]:
    return grad.sum(dim, keepdim=True), reuse(torch.mul, x - near, grad).sum(dim, keepdim=True)


def _few(x: Tensor) -> bool:
    """Whether a call costs more than float64 does, which needs no care for roundings."""
    return x.dtype is torch.float32 and 0 < x.numel() <= FEW and readable(x)


def _inner(x: Tensor) -> int:
    """The dimension of planes to add up along first, so that few sums are left."""
    return 0 if x.shape[2] == 1 else 2


def _total(sums: Tensor) -> Tensor:
    """Adds up sums that have been rounded, (B, C, 1), in float64; B may be 0 or 1."""
    return sums.reshape(-1) if sums.shape[0] == 1 else sums.sum((0, 2), dtype=torch.float64).to(sums.dtype)


def standardized(x: Tensor, mean: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """(x - mean) · scale + bias of some planes, by channel."""
    columns = (mean, scale) if bias is None else (mean, scale, bias)
    return rowwise(_standardized, x, *[column[:, None] for column in columns])


def _standardized(x: Tensor, mean: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    y = reuse(torch.mul, x - mean, scale)
    return y if bias is None else reuse(torch.add, y, bias)


def projected(v: Tensor, x: Tensor, mean: Tensor, pull: Tensor, mean_v: Tensor, scale: Tensor) -> Tensor:
    """(v - (x - mean) · pull - mean_v) · scale of two planes, by channel."""
    columns = (mean, -pull * scale, -mean_v * scale, scale)
    return rowwise(_projected, v, x, *[column[:, None] for column in columns])


def _projected(v: Tensor, x: Tensor, mean: Tensor, of_x: Tensor, shift: Tensor, of_v: Tensor) -> Tensor:
    left = reuse(torch.add, reuse(torch.mul, x - mean, of_x), shift)  # `torch.addcmul` of two columns is slow
    return torch.addcmul(left, v, of_v)


def affine(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """x · scale + shift of some planes, by channel."""
    return rowwise(_affine, x, scale[:, None], shift[:, None])


def _affine(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return reuse(torch.add, x * scale, shift)
