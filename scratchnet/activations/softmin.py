r"""Softmin: the softmax of the negated input.

.. math::
    y_i = \frac{e^{-x_i}}{\sum_j e^{-x_j}}
    \qquad \frac{\partial y_i}{\partial x_j} = -y_i (\delta_{ij} - y_j)

The smallest element gets the largest share. It is a composition: negation, then `SoftmaxFunction`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scratchnet.activations.dimension import along_dimension
from scratchnet.activations.softmax import SoftmaxFunction
from scratchnet.arguments import overridable, tensor

__all__ = ["softmin"]


@overridable
def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None
) -> Tensor:
    """Exponentials of the negated input over their sum along a dimension.

    Args:
        input: floating-point tensor of any shape.
        dim: the dimension whose elements sum to one. Leaving it out is deprecated, as in PyTorch.
        _stacklevel: how far up the call stack the deprecation points.
        dtype: convert the negated input to this dtype first.

    Returns:
        A tensor of the same shape, with values in [0, 1] that sum to one along ``dim``.

    Raises:
        TypeError: if ``input`` is no tensor, or ``dim`` no integer.
        NotImplementedError: if ``input`` is not floating point and no ``dtype`` is given.
        IndexError: if ``dim`` is out of range.
    """
    return SoftmaxFunction.apply(*along_dimension("softmin", -tensor("softmin", input), dim, _stacklevel, dtype))
