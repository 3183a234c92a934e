"""How many units of a network are on a flat part of their activation, where no gradient passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["flat_and_dead", "slope"]

FLAT = 0.005  # slopes below are flat: half of a leaky ReLU's gentle side, a fiftieth of a sigmoid's steepest


def slope(activation: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """How steep an activation is at z; of maxout, whose units have several inputs, along the one that counts."""
    z = z.detach().requires_grad_()
    with torch.enable_grad():
        y = activation(z)
        (found,) = torch.autograd.grad(y.sum(), z)
    return found if found.shape == y.shape else found.unflatten(-1, (y.shape[-1], -1)).abs().sum(-1)


@torch.no_grad()
def flat_and_dead(model: nn.Module, activations: Sequence[nn.Module], inputs: Tensor) -> tuple[float, float]:
    """The share of answers given on a flat part, and the share of units that give no other for any input.

    Args:
        model: A network.
        activations: Its activations, whose inputs have shape (N, units).
        inputs: A batch.
    """
    slopes: list[Tensor] = []

    def measure(module: nn.Module, args: Any, output: Any) -> None:
        slopes.append(slope(measured[module], args[0]))

    # The slope is taken of a call that does not come by the hook again.
    measured = {activation: activation.forward for activation in activations}
    handles = [activation.register_forward_hook(measure) for activation in activations]
    try:
        model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    flat = torch.cat(slopes, 1).abs() < FLAT
    return flat.double().mean().item(), flat.all(0).double().mean().item()
