"""How much of the gradient reaches each layer of a network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["gradient_by_layer"]


def gradient_by_layer(
    model: nn.Module, criterion: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, targets: Tensor
) -> list[float]:
    """The norm of the gradient of each layer's weights, first to last; the parameters' own gradients stay as they are.

    Args:
        model: A network.
        criterion: Its loss.
        inputs: A batch.
        targets: What should come out.
    """
    weights = [parameter for name, parameter in model.named_parameters() if name.endswith("weight")]
    loss = criterion(model(inputs), targets)
    return [gradient.norm().item() for gradient in torch.autograd.grad(loss, weights)]
