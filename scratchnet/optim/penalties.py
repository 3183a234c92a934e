r"""Keeps weights small: terms to add to a loss, and a limit to enforce after a step.

.. math::
    P_1 = \sum \lvert w \rvert, \quad \frac{\partial P_1}{\partial w} = \operatorname{sign} w \qquad
    P_2 = \tfrac{1}{2} \sum w^2, \quad \frac{\partial P_2}{\partial w} = w

The slope of :math:`P_1` is as steep for small weights as for large ones, so that it makes many of them zero; that of
:math:`P_2` fades with the weight, and a step by it is the weight decay of `SGD`.

Sources: A. E. Hoerl and R. W. Kennard, "Ridge regression", 1970; R. Tibshirani, "Regression shrinkage and selection
via the lasso", 1996; N. Srivastava et al., "Dropout", JMLR 2014, for the limit on norms.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, overridable

__all__ = ["l1_penalty", "l2_penalty", "max_norm_"]


@overridable
def l1_penalty(parameters: Iterable[Tensor]) -> Tensor:
    """The sum of the absolute values.

    >>> l1_penalty([torch.tensor([1.0, -2.0]), torch.tensor([3.0])])
    tensor(6.)

    Raises:
        ValueError: if there are no parameters.
    """
    return _total("l1_penalty", [_numbers(each).abs().sum() for each in parameters])


@overridable
def l2_penalty(parameters: Iterable[Tensor]) -> Tensor:
    """Half the sum of the squares.

    >>> l2_penalty([torch.tensor([1.0, -2.0]), torch.tensor([3.0])])
    tensor(7.)

    Raises:
        ValueError: if there are no parameters.
    """
    return _total("l2_penalty", [0.5 * (each * each).sum() for each in parameters])


@overridable
@torch.no_grad()
def max_norm_(weight: Tensor, limit: float) -> Tensor:
    """Shortens, in place, the weights of each unit to a norm of ``limit`` at most, and returns them.

    Args:
        weight: shape ``(units, …)``: a linear layer's, or a convolution's, whose units are its filters.
        limit: the largest norm that stays.

    >>> max_norm_(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), limit=1.0)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])

    Raises:
        ValueError: if ``weight`` has fewer than two dimensions, or ``limit`` is not above 0.
    """
    if weight.dim() < 2:
        raise ValueError(f"max_norm_: expected weights of shape (units, …), got {describe(weight)}")
    if not limit > 0:
        raise ValueError(f"max_norm_: expected a limit above 0, got {limit}")
    wide = weight.float() if weight.itemsize < 4 else weight  # squares overflow in float16
    norms = (wide * wide).flatten(1).sum(1).sqrt().view(-1, *[1] * (weight.dim() - 1))
    return weight.mul_((limit / norms).clamp(max=1))


def _numbers(parameter: Tensor) -> Tensor:
    """Returns a parameter that is not boolean, or the proxy that fx traces with."""
    if not isinstance(parameter, Tensor):
        return parameter
    return floating("l1_penalty", parameter, "parameters", complex=True, integer=True)


def _total(op: str, terms: list[Tensor]) -> Tensor:
    if not terms:
        raise ValueError(f"{op}: expected at least one parameter, got none")
    return torch.stack(terms).sum()
