"""Kernels, compared with compositions of tensor operations, since PyTorch has none."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from reference.catalog.record import Make, Record, Sample, bad, leaf, rounded_once
from scratchnet.similarity.kernels import (
    LinearKernelFunction,
    PolynomialKernelFunction,
    RBFKernelFunction,
    linear_kernel,
    polynomial_kernel,
    rbf_kernel,
)

__all__ = ["RECORDS"]


def points(make: Make) -> Iterator[Sample]:
    yield Sample((make.normal(4, 3), make.normal(2, 3)))
    yield Sample((leaf(make.normal(3, 4).t()), leaf(make.normal(2, 6)[:, ::2])))
    yield Sample((leaf(make.normal(1, 3).expand(4, 3)), make.normal(2, 3, grad=False)))
    same = make.normal(3, 3)
    yield Sample((same, leaf(same.clone())))
    yield Sample((make.normal(0, 3), make.normal(2, 3)))


def polynomials(make: Make) -> Iterator[Sample]:
    yield from points(make)
    x, y = make.normal(4, 3), make.normal(2, 3)
    for degree in (0, 1, 2):
        yield Sample((x, y, degree), {"gamma": 0.5, "constant": 0.3})
    yield Sample((x, y), {"gamma": make.values(0.5)})


def exponentials(make: Make) -> Iterator[Sample]:
    yield from points(make)
    x, y = make.normal(4, 3), make.normal(2, 3)
    yield Sample((x, y, 0.3))
    yield Sample((x, y), {"gamma": make.values(0.5)})
    yield Sample((leaf(100 * x), y), smooth=False)


def linear_composed(x: Tensor, y: Tensor) -> Tensor:
    return torch.einsum("nd,md->nm", x, y)


def polynomial_composed(
    x: Tensor, y: Tensor, degree: int = 3, gamma: float | Tensor = 1.0, constant: float = 1.0
) -> Tensor:
    return (gamma * torch.einsum("nd,md->nm", x, y) + constant).pow(degree)


def rbf_composed(x: Tensor, y: Tensor, gamma: float | Tensor = 1.0) -> Tensor:
    return torch.exp(-gamma * (x[:, None] - y[None]).square().sum(-1))


X, Y = torch.zeros(4, 3), torch.zeros(2, 3)

RECORDS = (
    Record(
        "linear_kernel",
        linear_kernel,
        rounded_once(linear_composed),
        points,
        [LinearKernelFunction],
        errors=[bad(RuntimeError, "points of shape (N, D) and (M, D)", X, Y[:, :2])],
    ),
    Record(
        "polynomial_kernel",
        polynomial_kernel,
        rounded_once(polynomial_composed),
        polynomials,
        [PolynomialKernelFunction],
        errors=[bad(RuntimeError, "points of shape (N, D) and (M, D)", X, Y[:, :2])],
    ),
    Record(
        "rbf_kernel",
        rbf_kernel,
        rounded_once(rbf_composed),
        exponentials,
        [RBFKernelFunction],
        errors=[bad(RuntimeError, "points of shape (N, D) and (M, D)", X, Y[:, :2])],
    ),
)
