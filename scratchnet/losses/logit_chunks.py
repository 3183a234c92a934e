"""Softmax of some rows of logits, and the gradients that it gives; `linear_cross_entropy` runs it chunk by chunk.

With a row's logits z = W x + b, their largest m and s = Σ e^{z - m}, the softmax is p = e^{z - m} / s. The gradient of
the row's loss is δ = p - (1 - ε) 1_y - ε / C by its logits, and by products with δ by rows, weight and bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from scratchnet.function import LOW_PRECISION, Product, rowwise

__all__ = ["Softmax", "delta", "gradients", "logits", "powers_of", "with_losses"]


class Softmax(NamedTuple):
    """Results of the forward pass.

    Attributes:
        losses: of each row.
        top: m, the largest logit of each row.
        total: s, the sum of each row's powers.
        powers: e^{z - m}.
    """

    losses: Tensor
    top: Tensor
    total: Tensor
    powers: Tensor


def logits(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Returns the product, computed in the dtype of its factors, in float32 at least."""
    z = x @ weight.T if bias is None else torch.addmm(bias, x, weight.T)
    return z if z.dtype is torch.float64 else z.float()


def with_losses(z: Tensor, target: Tensor, smoothing: float) -> Softmax:
    """Returns log s - (1 - ε) (z_y - m) - ε mean(z - m) of each row, and what it is made of."""
    at_target = z.gather(1, target.unsqueeze(1))
    powers, top, total, mean = rowwise(_softmax, z, overwritten=(0,), empty=not z.numel(), smoothing=smoothing)
    rest = (1 - smoothing) * (at_target - top)
    rest = rest + smoothing * mean if smoothing else rest
    return Softmax((torch.log(total) - rest).squeeze(1), top.squeeze(1), total.squeeze(1), powers)


def _softmax(z: Tensor, *, empty: bool, smoothing: float) -> tuple[Tensor | None, ...]:
    """Returns e^{z - m}, m, s, and the mean of z - m if it is needed."""
    top = (z.sum(1, keepdim=True) if empty else z.amax(1, keepdim=True)).detach()  # a constant: it cancels
    above = z - top
    mean = above.mean(1, keepdim=True) if smoothing else None
    powers = torch.exp(above)
    return powers, top, powers.sum(1, keepdim=True), mean


def powers_of(z: Tensor, top: Tensor) -> Tensor:
    """Returns e^{z - m}, which may take the memory of z."""
    return rowwise(_powers, z, top.unsqueeze(1), overwritten=(0,))


def _powers(z: Tensor, top: Tensor) -> Tensor:
    return torch.exp(z - top)


def delta(powers: Tensor, target: Tensor, total: Tensor, smoothing: float, *, divided: bool = True) -> Tensor:
    """Returns δ, or δ times s, which may take the memory of the powers."""
    share = smoothing / max(powers.shape[1], 1)
    pair = (total, torch.ones_like(total)) if divided else (None, total)
    columns = [None if c is None else c.unsqueeze(1) for c in (target, *pair)]
    return rowwise(_delta, powers, *columns, overwritten=(0,), smoothing=smoothing, share=share)


def _delta(
    powers: Tensor, target: Tensor, total: Tensor | None, s: Tensor, *, smoothing: float, share: float
) -> Tensor:
    found = powers if total is None else powers / total
    found = found - share * s if share else found
    return found.scatter_add(1, target, (smoothing - 1) * s)


def gradients(
    x: Tensor,
    target: Tensor,
    powers: Tensor,
    total: Tensor,
    scale: Tensor,
    *,
    weight: Tensor,
    needs: Sequence[bool],
    smoothing: float,
) -> tuple[Tensor | Product | None, ...]:
    """Returns the gradients of rows, weight and bias, the last one as a column, for losses times a scale.

    What scales a row of δ scales the row of x, or of the product, instead: they are shorter.
    """
    divided = weight.dtype in LOW_PRECISION  # s may be too large for them
    slope = delta(powers, target, total, smoothing, divided=divided).to(x.dtype)
    scale = (scale if divided else scale / total).unsqueeze(1)
    of_x = scale * (slope @ weight) if needs[0] else None
    of_weight = Product(slope.T, (scale * x).to(x.dtype)) if needs[1] else None
    of_bias = Product(slope.T, scale.to(x.dtype)) if needs[2] else None
    return of_x, of_weight, of_bias
