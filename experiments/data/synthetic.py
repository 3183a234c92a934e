"""Synthetic data in one and two dimensions: logic gates, two moons, a line with outliers, and surfaces to descend."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["GATES", "OFFSET", "SLOPE", "SURFACES", "Surface", "line_with_outliers", "logic_gate", "two_moons"]

GATES = {"AND": (0, 0, 0, 1), "OR": (0, 1, 1, 1), "XOR": (0, 1, 1, 0)}
SLOPE, OFFSET = 2.0, 1.0  # of the line
NOISE = 0.1
FAR = 8.0  # added to y at the outliers


def logic_gate(name: str) -> tuple[Tensor, Tensor]:
    """Returns the inputs of a logic gate, shape (4, 2), and its outputs, shape (4,).

    >>> logic_gate("XOR")[1].tolist()
    [0, 1, 1, 0]
    """
    return torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), torch.tensor(GATES[name])


def two_moons(count: int, noise: float, seed: int) -> tuple[Tensor, Tensor]:
    """Generates two interleaved half circles: points of shape (count, 2) and classes of shape (count,).

    Args:
        count: Number of points; the classes alternate.
        noise: Standard deviation of the noise in each coordinate; a moon has radius 1.
        seed: Seed of the generator.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    angle = math.pi * torch.rand(count, generator=generator)
    upper = torch.stack([angle.cos(), angle.sin()], 1)
    lower = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], 1)
    moons = torch.where(labels[:, None] == 0, upper, lower)
    return moons + noise * torch.randn(count, 2, generator=generator), labels


def line_with_outliers(count: int, share: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Generates noisy samples of y = SLOPE · x + OFFSET for x in [-1, 1], with outliers at the right end.

    Outliers above the line at one end of it change both the slope and the offset of a fit.

    Args:
        count: Number of samples.
        share: Share of outliers, from 0 to 1: the samples with the largest x.
        seed: Seed of the generator.

    Returns:
        x and y of shape (count, 1), and a mask of the outliers of shape (count,).
    """
    generator = torch.Generator().manual_seed(seed)
    x = 2 * torch.rand(count, 1, generator=generator) - 1
    y = SLOPE * x + OFFSET + NOISE * torch.randn(count, 1, generator=generator)
    outliers = torch.zeros(count, dtype=torch.bool)
    outliers[x.squeeze(1).topk(round(share * count)).indices] = True
    return x, torch.where(outliers[:, None], y + FAR, y), outliers


@dataclass(frozen=True)
class Surface:
    """A function of two variables to minimize.

    Attributes:
        height: Maps points of shape (…, 2) to values of shape (…,).
        start: Where a descent begins.
        lowest: The minimum.
        span: The region to plot: minimum and maximum of the first coordinate, then of the second.
        lr: A suitable learning rate.
    """

    height: Callable[[Tensor], Tensor]
    start: tuple[float, float]
    lowest: tuple[float, float]
    span: tuple[float, float, float, float]
    lr: float


def ravine(points: Tensor) -> Tensor:
    """Computes a quadratic with curvatures 1 and 50, like the loss of badly scaled inputs."""
    x, y = points.unbind(-1)
    return 0.5 * x**2 + 25 * y**2


def banana(points: Tensor) -> Tensor:
    """Computes Rosenbrock's function with walls a tenth as steep: a curved and nearly flat valley."""
    x, y = points.unbind(-1)
    return (1 - x) ** 2 + 10 * (y - x**2) ** 2


def hollow(points: Tensor) -> Tensor:
    """Computes a bowl with a shallow local minimum, in which plain gradient descent stops."""
    x, y = points.unbind(-1)
    deep = -2 * torch.exp(-((x - 1) ** 2 + y**2))
    shallow = -0.6 * torch.exp(-4 * ((x + 0.7) ** 2 + y**2))
    return deep + shallow + 0.05 * (x**2 + y**2)


SURFACES = {
    "ravine": Surface(ravine, (-8.0, 1.0), (0.0, 0.0), (-9, 4, -1.5, 1.5), lr=0.024),
    "banana": Surface(banana, (-1.2, 1.0), (1.0, 1.0), (-1.8, 1.8, -0.8, 2.2), lr=0.006),
    "hollow": Surface(hollow, (-1.6, 0.5), (0.97, 0.0), (-2.2, 2.2, -1.3, 1.3), lr=0.1),
}
