r"""Local response normalization: each value is divided by a power of the energy of the channels around it.

.. math::
    y_c = x_c\, d_c^{-\beta}, \qquad d_c = k + \frac{\alpha}{n} \sum_{c' \in W(c)} x_{c'}^2, \qquad
    W(c) = \{c - \lfloor n / 2 \rfloor, \dots, c + \lfloor (n - 1) / 2 \rfloor\}

at each position, with zeros beyond the first and last channel. A value appears in its own numerator, and in the
denominators of all channels whose window it lies in, :math:`\{c : c' \in W(c)\}`, the window turned around:

.. math::
    \frac{\partial L}{\partial x_{c'}} = g_{c'}\, d_{c'}^{-\beta}
    - \frac{2 \alpha \beta}{n}\, x_{c'} \sum_{c \,:\, c' \in W(c)} g_c\, x_c\, d_c^{-\beta - 1}

Summing over windows is linear, and its adjoint is the sum over the windows turned around.

Source: A. Krizhevsky, I. Sutskever and G. E. Hinton, "ImageNet classification with deep convolutional neural
networks", 2012.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import autocasts, describe, overridable, promoted
from scratchnet.function import Function

__all__ = ["LocalResponseNormFunction", "local_response_norm"]


class LocalResponseNormFunction(Function):
    """x d^-β along dimension 1. Saves x and d."""

    @staticmethod
    def forward(
        x: Tensor, *, size: int, alpha: float, beta: float, k: float
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The energy of each window, and the quotient."""
        energy = k + (alpha / size) * _around(x * x, size // 2, (size - 1) // 2)
        return x / energy**beta, (x, energy)

    @staticmethod
    def backward(
        grad: Tensor,
        saved: Sequence[Tensor],
        needs: Sequence[bool],
        *,
        size: int,
        alpha: float,
        beta: float,
        k: float,
    ) -> Tensor:
        """The numerator's part, and the part of all denominators that a value lies in."""
        x, energy = saved
        direct = grad / energy**beta
        others = _around(direct * x / energy, (size - 1) // 2, size // 2)
        return direct - (2 * alpha * beta / size) * x * others

    @staticmethod
    def jvp(
        tangents: Sequence[Tensor], saved: Sequence[Tensor], *, size: int, alpha: float, beta: float, k: float
    ) -> Tensor:
        """The quotient rule."""
        x, energy = saved
        tangent = tangents[0]
        growth = (2 * alpha * beta / size) * _around(x * tangent, size // 2, (size - 1) // 2)
        return (tangent - x * growth / energy) / energy**beta


def _around(x: Tensor, before: int, after: int) -> Tensor:
    """The sum over so many channels before and after each one, and itself."""
    channels = x.shape[1]
    total = x
    for step in range(1, min(max(before, after), channels - 1) + 1):
        margin = torch.zeros_like(x[:, :step])
        if step <= before:
            total = total + torch.cat([margin, x[:, :-step]], 1)
        if step <= after:
            total = total + torch.cat([x[:, step:], margin], 1)
    return total


@overridable
def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Divides each value by a power of the mean square over the channels around it.

    Args:
        input: tensor of shape ``(N, C, *)`` with at least one dimension after the channels.
        size: the number n of channels in a window.
        alpha: factor of the mean square.
        beta: exponent of the denominator.
        k: added to the denominator.

    Returns:
        A tensor of the input's shape; an empty input is returned as it is.

    Raises:
        TypeError: if ``input`` is no tensor, ``size`` no integer, or an option no number.
        ValueError: if the input has fewer than 3 dimensions.
        RuntimeError: if ``size`` is not positive.
    """
    op = "local_response_norm"
    x = promoted(op, input)
    if x.dim() < 3:
        raise ValueError(
            f"{op}: expected input of shape (N, C, ...) with at least 3 dimensions, got {describe(x)}"
        )
    if input.numel() == 0:
        return input
    if size < 1:
        raise RuntimeError(f"{op}: expected size of at least 1 channel, got {size}")
    if x.dim() > 3 and x.device.type == "cpu" and autocasts(x):
        x = x if x.dtype is torch.float64 else x.float()
    return LocalResponseNormFunction.apply(x, size, alpha, beta, k)
