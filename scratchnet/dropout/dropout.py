r"""Dropout.

.. math::
    y = \frac{m \odot x}{1 - p}, \qquad m_i \sim \operatorname{Bernoulli}(1 - p), \qquad
    \frac{\partial L}{\partial x} = \frac{m \odot g}{1 - p}

In training each element is dropped with probability p, independently, and what stays is scaled up so that its
expectation is what it was: nothing is left to do at evaluation. The map is linear, so backward and forward mode
apply it to the gradient and the tangent as they are.

The mask is kept as booleans, one byte for each element, and scaled again where it is used. On a CPU it is the
mask that PyTorch's dropout would draw from the same generator state (see `scratchnet.dropout.random_mask`), drawn
outside of the Function, whose forward may run again.

Source: N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever and R. Salakhutdinov, "Dropout: a simple way to
prevent neural networks from overfitting", 2014.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, overridable, tensor
from scratchnet.dropout.random_mask import random_mask
from scratchnet.function import Function, dispatch

__all__ = ["DropoutFunction", "check_probability", "dropout", "of_features"]


class DropoutFunction(Function):
    """Elements where the mask is true, scaled by 1 / (1 - p), and 0 elsewhere. Saves the mask.

    The mask has the input's shape, or one that broadcasts to it.
    """

    @staticmethod
    def forward(x: Tensor, mask: Tensor, *, p: float) -> tuple[Tensor, tuple[Tensor]]:
        """The mask drops and scales x."""
        return _dropped(x, mask, p), (mask,)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, p: float) -> tuple[Tensor, None]:
        """The same map of the gradient."""
        return _dropped(grad, saved[0], p), None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, p: float) -> Tensor:
        """The same map of the tangent."""
        return _dropped(tangents[0], saved[0], p)


def _dropped_in_place(x: Tensor, mask: Tensor, p: float) -> Tensor:
    return mask.to(x.dtype).mul_(_scale(x, p)).mul_(x) if mask.shape == x.shape else NotImplemented


@dispatch(_dropped_in_place)
def _dropped(x: Tensor, mask: Tensor, p: float) -> Tensor:
    """x · m / (1 - p); a product, not a selection, so that a dropped infinity is NaN as in PyTorch."""
    return x * (mask.to(x.dtype) * _scale(x, p))


def _scale(x: Tensor, p: float) -> Tensor:
    """1 / (1 - p), rounded as PyTorch rounds it."""
    return 1 / torch.full((), 1 - p, dtype=x.dtype, device=x.device)


@overridable
def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes each element with probability p, and scales the others by 1 / (1 - p).

    Args:
        input: tensor of any shape; floating point where elements are to be dropped.
        p: probability of an element to be zeroed.
        training: whether to drop at all; otherwise the input is returned.
        inplace: overwrite ``input`` with the result.

    Returns:
        A tensor of the same shape.

    Raises:
        TypeError: if ``input`` is no tensor or ``p`` no number.
        ValueError: if ``p`` is not between 0 and 1.
        NotImplementedError: if ``input`` is not floating point.
    """
    tensor("dropout", input)
    check_probability("dropout", p)
    if p == 0 or not training:
        return input
    if p == 1:
        y = input * input.new_zeros(())
    else:
        x = floating("dropout", input)
        y = DropoutFunction.apply(x, random_mask(x, None, 1 - p), p)
    return input.copy_(y) if inplace else y


def check_probability(op: str, p: float) -> None:
    """Expects a number from 0 to 1."""
    if not 0 <= p <= 1:
        raise ValueError(f"{op}: expected a probability p between 0 and 1, got {p}")


def of_features(op: str, x: Tensor) -> tuple[int, ...]:
    """The shape of a mask with one element for each sample and channel.

    Raises:
        RuntimeError: if there are no channels.
    """
    if x.dim() < 2:
        raise RuntimeError(f"{op}: expected input of shape (N, C, ...), got {describe(x)}")
    return (*x.shape[:2], *(1,) * (x.dim() - 2))
