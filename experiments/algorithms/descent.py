"""Where gradient descent ends after given gradients: what the exercises of the course on optimizers compare with."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from scratchnet.optim import SGD

__all__ = ["descend"]


def descend(start: Tensor, gradients: Tensor, **options: Any) -> Tensor:
    """Returns the weights after one step of `SGD` for each gradient.

    Args:
        start: Weights of any shape.
        gradients: One gradient per step, of shape (steps, *start.shape).
        **options: Options of `SGD`.
    """
    weights = start.clone()
    optimizer = SGD([weights], differentiable=True, **options)
    for gradient in gradients:
        weights.grad = gradient
        optimizer.step()
    return weights
