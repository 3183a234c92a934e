"""What a function of single numbers costs, and how exact it is in float32."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from experiments.metrics.flatness import slope
from experiments.metrics.timing import seconds_each

__all__ = ["float32_errors", "nanoseconds"]

ROWS, UNITS = 512, 512  # of the batch that is timed


def nanoseconds(function: nn.Module, inputs: int = 1) -> tuple[float, float]:
    """The time for each result in a large batch: forward alone, and forward and backward.

    Args:
        function: What is timed.
        inputs: Numbers that go into a result, neighbours in the last dimension.
    """
    batch = torch.randn(ROWS, UNITS * inputs, requires_grad=True)
    forward, both = seconds_each(
        lambda: function(batch.detach()), lambda: torch.autograd.grad(function(batch).sum(), batch)
    )
    return 1e9 * forward / (ROWS * UNITS), 1e9 * both / (ROWS * UNITS)


def float32_errors(function: nn.Module, exact: nn.Module, z: Tensor) -> tuple[Tensor, Tensor]:
    """The relative errors of values and of slopes.

    Args:
        function: In float32.
        exact: The same in float64.
        z: Where to look, in float32.
    """
    with torch.no_grad():
        values = _relative(function(z), exact(z.double()))
    return values, _relative(slope(function, z), slope(exact, z.double()))


def _relative(found: Tensor, truth: Tensor) -> Tensor:
    return (found.double() - truth).abs() / truth.abs().clamp(min=torch.finfo(torch.float32).tiny)
