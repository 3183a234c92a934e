r"""Dropout of whole channels.

.. math::
    y_{bcl} = \frac{m_{bc}\, x_{bcl}}{1 - p}, \qquad m_{bc} \sim \operatorname{Bernoulli}(1 - p)

Neighbouring pixels of a feature map say nearly the same, so that dropping some of them teaches little; here a map is
dropped as a whole or not at all. It is `DropoutFunction` with a mask of one element for each sample and channel,
which broadcasts over positions and is all that is saved.

Source: J. Tompson, R. Goroshin, A. Jain, Y. LeCun and C. Bregler, "Efficient object localization using
convolutional networks", 2015.
"""

from __future__ import annotations

import warnings

from torch import Tensor

from scratchnet.arguments import describe, floating, overridable, tensor
from scratchnet.dropout.dropout import DropoutFunction, check_probability, of_features
from scratchnet.dropout.random_mask import random_mask

__all__ = ["dropout1d", "dropout2d", "dropout3d"]


def _channel_dropout(op: str, x: Tensor, p: float, training: bool) -> Tensor:
    """Drops channels of an input (N, C, …), or returns it where there is nothing to do."""
    if p == 0 or not training or x.numel() == 0:
        return x
    if p == 1:  # of any shape and dtype
        return x * x.new_zeros(())
    shape = of_features(op, x)
    return DropoutFunction.apply(floating(op, x, error=RuntimeError), random_mask(x, shape, 1 - p), p)


def _finished(input: Tensor, y: Tensor, inplace: bool) -> Tensor:
    return input.copy_(y) if inplace and y is not input else y


@overridable
def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes channels of sequences ``(N, C, L)`` or ``(C, L)``, with the arguments of `dropout`.

    Raises:
        RuntimeError: besides, if ``input`` has another number of dimensions, or is not floating point.
    """
    x = tensor("dropout1d", input)
    check_probability("dropout1d", p)
    if x.dim() not in (2, 3):
        raise RuntimeError(f"dropout1d: expected input of shape (N, C, L) or (C, L), got {describe(x)}")
    if x.dim() == 2:
        return _finished(input, _channel_dropout("dropout1d", x.unsqueeze(0), p, training).squeeze(0), inplace)
    return _finished(input, _channel_dropout("dropout1d", x, p, training), inplace)


@overridable
def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes channels of images ``(N, C, H, W)``, with the arguments of `dropout`.

    An input of three dimensions is taken for ``(N, C, L)``, with a warning, as in PyTorch: not for one sample.

    Raises:
        RuntimeError: besides, if ``input`` has fewer than 2 dimensions, or is not floating point.
    """
    x = tensor("dropout2d", input)
    check_probability("dropout2d", p)
    if x.dim() != 4:
        advice = "one sample needs a batch dimension: input.unsqueeze(0)" if x.dim() == 3 else "use dropout"
        warnings.warn(
            f"dropout2d: expected input of shape (N, C, H, W), got {describe(x)}, whose dimension 1 is taken for "
            f"the channels; {advice}",
            stacklevel=3,
        )
    return _finished(input, _channel_dropout("dropout2d", x, p, training), inplace)


@overridable
def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes channels of volumes ``(N, C, D, H, W)`` or ``(C, D, H, W)``, with the arguments of `dropout`.

    Raises:
        RuntimeError: besides, if ``input`` has no dimensions, or is not floating point.
    """
    x = tensor("dropout3d", input)
    check_probability("dropout3d", p)
    if x.dim() not in (4, 5):
        warnings.warn(
            f"dropout3d: expected input of shape (N, C, D, H, W) or (C, D, H, W), got {describe(x)}, whose "
            "dimension 0 is taken for the channels; use dropout",
            stacklevel=3,
        )
    if x.dim() != 5:
        return _finished(input, _channel_dropout("dropout3d", x.unsqueeze(0), p, training).squeeze(0), inplace)
    return _finished(input, _channel_dropout("dropout3d", x, p, training), inplace)
