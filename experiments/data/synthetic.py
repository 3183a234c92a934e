"""Functions of two variables, to see how a descent finds its way down: points of shape (…, 2), heights (…,)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["SURFACES", "Surface"]


@dataclass(frozen=True)
class Surface:
    """A landscape.

    Attributes:
        height: Its height at points of shape (…, 2).
        start: Where a descent begins.
        lowest: Where it should end.
        span: The part worth looking at: least and largest of the first coordinate, then of the second.
        lr: A learning rate that suits it.
    """

    height: Callable[[Tensor], Tensor]
    start: tuple[float, float]
    lowest: tuple[float, float]
    span: tuple[float, float, float, float]
    lr: float


def ravine(points: Tensor) -> Tensor:
    """Fifty times as steep across as along: what badly scaled inputs make of a loss."""
    x, y = points.unbind(-1)
    return 0.5 * x**2 + 25 * y**2


def banana(points: Tensor) -> Tensor:
    """Rosenbrock's valley, whose floor is bent and nearly flat, a tenth as steep as he made it."""
    x, y = points.unbind(-1)
    return (1 - x) ** 2 + 10 * (y - x**2) ** 2


def hollow(points: Tensor) -> Tensor:
    """A bowl with a shallow hollow on the way to the deep one: where plain descent stops."""
    x, y = points.unbind(-1)
    deep = -2 * torch.exp(-((x - 1) ** 2 + y**2))
    shallow = -0.6 * torch.exp(-4 * ((x + 0.7) ** 2 + y**2))
    return deep + shallow + 0.05 * (x**2 + y**2)


SURFACES = {
    "ravine": Surface(ravine, (-8.0, 1.0), (0.0, 0.0), (-9, 4, -1.5, 1.5), lr=0.024),
    "banana": Surface(banana, (-1.2, 1.0), (1.0, 1.0), (-1.8, 1.8, -0.8, 2.2), lr=0.006),
    "hollow": Surface(hollow, (-1.6, 0.5), (0.97, 0.0), (-2.2, 2.2, -1.3, 1.3), lr=0.1),
}
