"""Logits of a linear map, a chunk of rows at a time: their softmax where they lie, and the gradients that it gives.

With a row's logits z = W x + b, their largest m and s = Σ e^{z - m}, the softmax is p = e^{z - m} / s. The gradient of
the row's loss is δ = p - (1 - ε) 1_y - ε / C by its logits, and by products with δ by rows, weight and bias.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from scratchnet.function import LOW_PRECISION, recorded

__all__ = ["Chunk", "Gradients", "chunks", "delta", "logits", "powers_of", "room_for", "with_losses"]


class Chunk(NamedTuple):
    """Results of the forward pass for the rows of a chunk.

    Attributes:
        losses: of each row.
        top: m, the largest logit of each row.
        total: s, the sum of each row's powers.
        powers: e^{z - m}, in the memory of the logits where nobody watches.
    """

    losses: Tensor
    top: Tensor
    total: Tensor
    powers: Tensor


def chunks(samples: int, rows: int) -> Iterator[slice]:
    """Slices of so many rows, or one of all where autograd is to see the mathematics."""
    if recorded() or samples <= rows:
        return iter([slice(0, samples)])
    return (slice(start, start + rows) for start in range(0, samples, rows))


def room_for(x: Tensor, weight: Tensor, rows: int) -> Tensor | None:
    """Memory for one chunk's logits, used again by each: fresh memory costs more than the exponential."""
    return None if recorded() else x.new_empty(min(rows, x.shape[0]), weight.shape[0])


def logits(x: Tensor, weight: Tensor, bias: Tensor | None, room: Tensor | None = None) -> Tensor:
    """The product in the dtype of its factors, in at least float32 from then on."""
    out = None if room is None else room[: x.shape[0]]
    z = torch.mm(x, weight.T, out=out) if bias is None else torch.addmm(bias, x, weight.T, out=out)
    return z if z.dtype is torch.float64 else z.float()


def with_losses(z: Tensor, target: Tensor, smoothing: float) -> Chunk:
    """Log s less the target's logit above m, and less the mean logit above m where labels are smoothed."""
    top = (z.amax(1) if z.numel() else z.sum(1)).detach()  # a constant: it cancels
    above = _minus(z, top)
    rest = (1 - smoothing) * above.gather(1, target.unsqueeze(1)).squeeze(1)
    rest = rest + smoothing * above.mean(1) if smoothing else rest
    powers = _exp(above)
    total = powers.sum(1)
    return Chunk(torch.log(total) - rest, top, total, powers)


def powers_of(z: Tensor, top: Tensor) -> Tensor:
    """e^{z - m}, in the place of the logits where nobody watches."""
    return _exp(_minus(z, top))


def _exp(above: Tensor) -> Tensor:
    """The powers, in the place of their exponents where nobody watches."""
    return torch.exp(above) if recorded() else above.exp_()


def _minus(z: Tensor, top: Tensor) -> Tensor:
    """The logits less the largest of their row, in their place where nobody watches."""
    return z - top.unsqueeze(1) if recorded() else z.sub_(top.unsqueeze(1))


def delta(powers: Tensor, target: Tensor, total: Tensor, smoothing: float, *, divided: bool = True) -> Tensor:
    """δ, or δ times s, in the place of the powers where nobody watches."""
    found, s, in_place = powers, total.unsqueeze(1), not recorded()
    if divided:
        found = found.div_(s) if in_place else found / s
        s = torch.ones_like(s)
    if smoothing:
        share = smoothing / max(powers.shape[1], 1) * s
        found = found.sub_(share) if in_place else found - share
    place, at_target = target.unsqueeze(1), (smoothing - 1) * s
    return found.scatter_add_(1, place, at_target) if in_place else found.scatter_add(1, place, at_target)


class Gradients:
    """The gradients of rows, weight and bias, added up chunk by chunk.

    What scales a row of δ scales the row of x, or of the product, instead: they are shorter.
    """

    def __init__(self, weight: Tensor, needs: Sequence[bool], smoothing: float) -> None:
        self.of, self.needs, self.smoothing = weight, needs, smoothing
        self.divided = weight.dtype in LOW_PRECISION  # s may be too large for them
        self.rows: list[Tensor] = []
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None

    def add(self, x: Tensor, target: Tensor, powers: Tensor, total: Tensor, scale: Tensor) -> None:
        """Adds the gradients of one chunk, and overwrites its powers unless they are recorded.

        Args:
            x: the rows.
            target: their classes.
            powers: e^{z - m}.
            total: s.
            scale: what the loss of each row is multiplied by.
        """
        slope = delta(powers, target, total, self.smoothing, divided=self.divided).to(x.dtype)
        scale = (scale if self.divided else scale / total).unsqueeze(1)
        if self.needs[0]:
            self.rows.append(scale * (slope @ self.of))
        if self.needs[1]:
            self.weight = _plus_product(self.weight, slope, (scale * x).to(x.dtype))
        if self.needs[2]:
            self.bias = _plus_product(self.bias, slope, scale.to(x.dtype))

    def summed(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Returns the gradients of all rows, the weight and the bias; None where not needed."""
        rows = torch.cat(self.rows) if self.rows else None
        return rows, self.weight, None if self.bias is None else self.bias.squeeze(1)


def _plus_product(total: Tensor | None, slope: Tensor, x: Tensor) -> Tensor:
    """The weight's gradient so far and that of one chunk, summed in float32 at least."""
    if total is None:
        return slope.T @ x
    if slope.dtype in (torch.float32, torch.float64):
        return total.addmm_(slope.T, x)
    return total.float().add_(slope.T @ x)
