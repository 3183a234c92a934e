"""Points in the plane with a class each: what a line separates, and what it does not."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["GATES", "logic_gate", "two_moons"]

GATES = {"AND": (0, 0, 0, 1), "OR": (0, 1, 1, 1), "XOR": (0, 1, 1, 0)}


def logic_gate(name: str) -> tuple[Tensor, Tensor]:
    """The four inputs of a logic gate, shape (4, 2), and its outputs, shape (4,).

    >>> logic_gate("XOR")[1].tolist()
    [0, 1, 1, 0]
    """
    return torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), torch.tensor(GATES[name])


def two_moons(count: int, noise: float, seed: int) -> tuple[Tensor, Tensor]:
    """Two half circles that reach into each other: points of shape (count, 2), classes of shape (count,).

    Args:
        count: Points in all, half of them in each moon, in turn.
        noise: Standard deviation of what is added to each coordinate, where a moon has radius 1.
        seed: Of the places along the moons and of the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    angle = math.pi * torch.rand(count, generator=generator)
    upper = torch.stack([angle.cos(), angle.sin()], 1)
    lower = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], 1)
    moons = torch.where(labels[:, None] == 0, upper, lower)
    return moons + noise * torch.randn(count, 2, generator=generator), labels
