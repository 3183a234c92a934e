"""Penalties and limits on weights, compared with PyTorch's norms and products."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from reference.catalog.record import Make, Record, Sample
from scratchnet.optim import l1_penalty, l2_penalty, max_norm_

__all__ = ["RECORDS"]


def of_each(penalty: Callable[[Iterable[Tensor]], Tensor]) -> Callable[..., Tensor]:
    """Turns a penalty on a list of parameters into a function of the parameters."""

    def call(*parameters: Tensor) -> Tensor:
        return penalty(parameters)

    return call


def parameters(make: Make) -> Iterator[Sample]:
    yield Sample((make.normal(3, 4),))
    yield Sample((make.normal(2, 3), make.normal(4), make.normal()))
    yield Sample((make.normal(3, 4).detach().T.requires_grad_(), make.normal(0, 3)))


def norm(*parameters: Tensor) -> Tensor:
    return torch.linalg.vector_norm(torch.cat([w.flatten() for w in parameters]), 1)


def half_square(*parameters: Tensor) -> Tensor:
    elements = torch.cat([w.flatten() for w in parameters])
    return torch.dot(elements, elements) / 2


def renormed(weight: Tensor, limit: float) -> Tensor:
    """Computes `torch.renorm` without the 1e-7 that it adds to each norm."""
    norms = torch.linalg.vector_norm(weight.flatten(1), dim=1)
    return (weight.flatten(1) * (limit / norms).clamp(max=1).unsqueeze(1)).view(weight.shape)


def shortened(shorten: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Applies an in-place limit to a copy."""

    def call(weight: Tensor, **options: Any) -> Tensor:
        return shorten(weight.detach().clone(), **options)

    return call


def weights(make: Make) -> Iterator[Sample]:
    """Yields weights of linear layers and convolutions, with norms above the limit, below it, and zero."""
    yield Sample((make.normal(5, 3),), {"limit": 1.0}, smooth=False)
    yield Sample((make.normal(3, 2, 2, 2),), {"limit": 1.5}, smooth=False)
    yield Sample((make.normal(4, 3).detach().T.requires_grad_(),), {"limit": 0.5}, smooth=False)
    yield Sample((torch.zeros(2, 3, dtype=make.dtype, requires_grad=True),), {"limit": 1.0}, smooth=False)


RECORDS = (
    Record("l1_penalty", of_each(l1_penalty), norm, parameters, functions=()),
    Record("l2_penalty", of_each(l2_penalty), half_square, parameters, functions=()),
    Record(
        "max_norm_",
        shortened(max_norm_),
        shortened(renormed),
        weights,
        functions=(),
    ),
)
