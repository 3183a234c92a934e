r"""Alpha dropout, which keeps mean and variance of activations that self-normalize.

.. math::
    y = a\,(m \odot x + (1 - m)\,s) + a\,p\,|s|, \qquad m_i \sim \operatorname{Bernoulli}(1 - p), \qquad
    a = \frac{1}{\sqrt{(1 - p)(1 + p\,s^2)}}, \qquad \frac{\partial L}{\partial x} = a\,m \odot g

where s ≈ -1.758 is the value at which SELU saturates: what is dropped becomes s, not 0, and the affine map that
follows restores mean 0 and variance 1. The map is affine in x, so the backward scales the gradient and forward mode
scales the tangent.

Feature alpha dropout draws one m for each channel of each sample. On a CPU m is what PyTorch would draw from the
same generator state.

Source: G. Klambauer, T. Unterthiner, A. Mayr and S. Hochreiter, "Self-normalizing neural networks", 2017.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from scratchnet.arguments import floating, overridable, tensor
from scratchnet.dropout.dropout import check_probability, of_features
from scratchnet.dropout.random_mask import random_mask
from scratchnet.function import Function

__all__ = ["AlphaDropoutFunction", "alpha_dropout", "feature_alpha_dropout"]

SATURATION = -1.7580993408473766  # -scale · alpha of SELU


class AlphaDropoutFunction(Function):
    """Elements where the mask is true, the saturation elsewhere, scaled and shifted. Saves the mask."""

    @staticmethod
    def forward(x: Tensor, mask: Tensor, *, p: float) -> tuple[Tensor, tuple[Tensor]]:
        """Drops, scales and shifts; a product, not a selection, so that a dropped infinity is NaN as in PyTorch."""
        kept, scale = mask.to(x.dtype), _scale(p)
        shift = (1 - kept) * (scale * SATURATION) - scale * p * SATURATION
        return x * (kept * scale) + shift, (mask,)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, p: float) -> tuple[Tensor, None]:
        """Drops and scales."""
        return grad * (saved[0].to(grad.dtype) * _scale(p)), None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, p: float) -> Tensor:
        """Drops and scales."""
        return tangents[0] * (saved[0].to(tangents[0].dtype) * _scale(p))


def _scale(p: float) -> float:
    return 1 / math.sqrt((1 - p) * (1 + p * SATURATION**2))


def _alpha_dropout(op: str, input: Tensor, p: float, training: bool, inplace: bool, features: bool) -> Tensor:
    x = tensor(op, input)
    check_probability(op, p)
    if p == 0 or not training or x.numel() == 0:
        return x
    if p == 1:  # of any shape and dtype
        y = x * x.new_zeros(())
    else:
        shape = of_features(op, x) if features else None
        y = AlphaDropoutFunction.apply(floating(op, x, error=RuntimeError), random_mask(x, shape, 1 - p), p)
    return input.copy_(y) if inplace else y


@overridable
def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Replaces elements by SELU's saturation, and restores mean and variance.

    Arguments, result and errors are those of `dropout`, but an input that is not floating point is a RuntimeError.
    """
    return _alpha_dropout("alpha_dropout", input, p, training, inplace, features=False)


@overridable
def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Replaces channels of an input ``(N, C, *)``, as `alpha_dropout` does elements.

    Raises:
        RuntimeError: besides, if ``input`` has fewer than 2 dimensions.
    """
    return _alpha_dropout("feature_alpha_dropout", input, p, training, inplace, features=True)
