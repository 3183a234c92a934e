"""Measures how gradients pass through a network: by layer, and through its activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["flat_and_dead", "float32_errors", "gradient_by_layer", "slope"]

FLAT = 0.005  # slopes below are flat: half the slope of a leaky ReLU below 0, a fiftieth of a sigmoid's at 0


def gradient_by_layer(
    model: nn.Module, criterion: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, targets: Tensor
) -> list[float]:
    """Returns the gradient norm of each layer's weight, first layer first; leaves ``parameter.grad`` alone."""
    weights = [parameter for name, parameter in model.named_parameters() if name.endswith("weight")]
    loss = criterion(model(inputs), targets)
    return [gradient.norm().item() for gradient in torch.autograd.grad(loss, weights)]


def slope(activation: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Returns the derivative of an activation at z; for maxout, the derivative along the largest input of each unit."""
    z = z.detach().requires_grad_()
    with torch.enable_grad():
        y = activation(z)
        (found,) = torch.autograd.grad(y.sum(), z)
    return found if found.shape == y.shape else found.unflatten(-1, (y.shape[-1], -1)).abs().sum(-1)


@torch.no_grad()
def flat_and_dead(model: nn.Module, activations: Sequence[nn.Module], inputs: Tensor) -> tuple[float, float]:
    """Returns the share of outputs from a flat part of an activation, and the share of units flat for every input.

    Args:
        model: A network.
        activations: Its activations, whose inputs have shape (N, units).
        inputs: A batch.
    """
    slopes: list[Tensor] = []

    def measure(module: nn.Module, args: Any, output: Any) -> None:
        slopes.append(slope(measured[module], args[0]))

    measured = {activation: activation.forward for activation in activations}  # calling forward skips the hook
    handles = [activation.register_forward_hook(measure) for activation in activations]
    try:
        model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    flat = torch.cat(slopes, 1).abs() < FLAT
    return flat.double().mean().item(), flat.all(0).double().mean().item()


def float32_errors(function: nn.Module, exact: nn.Module, z: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the relative errors in float32 of an elementwise function and of its slope.

    Args:
        function: The function in float32.
        exact: The same function in float64.
        z: Points in float32.
    """
    with torch.no_grad():
        values = _relative(function(z), exact(z.double()))
    return values, _relative(slope(function, z), slope(exact, z.double()))


def _relative(found: Tensor, truth: Tensor) -> Tensor:
    return (found.double() - truth).abs() / truth.abs().clamp(min=torch.finfo(torch.float32).tiny)
