r"""The three products of convolution, in any number of dimensions.

Convolution is linear in the image x and in the weight w. With any y of the output's shape, the number

.. math::
    T(x, w, y) = \sum_{b, o, p} y_{b, o, p} \sum_{c, r} w_{o, c, r} \, x_{b, c, p + r}

is linear in all three, and each product of convolution is its gradient in one of them:

.. math::
    \texttt{convolve}(x, w) = \frac{\partial T}{\partial y} \qquad
    \texttt{spread}(y, w) = \frac{\partial T}{\partial x} \qquad
    \texttt{correlate}(y, x) = \frac{\partial T}{\partial w}

So convolution is the first, with the other two as its gradients; transposed convolution is the second, and its
gradients are the first and the third.

`scratchnet.convolution.written_out` makes them of columns R·S times as large as the image, in operations that autograd
can follow; where nothing follows, `scratchnet.convolution.choice` makes them without.

Shapes: B images, C input and O output channels, G groups, H × W pixels, R × S kernel, P × Q outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from scratchnet.convolution import choice, written_out
from scratchnet.function import unobserved
from scratchnet.windows import Geometry

__all__ = ["convolve", "correlate", "gradients", "spread"]


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, groups: int, outputs: Sequence[int]
) -> Tensor:
    """Of images ``(B, C, H, W)`` and a weight ``(O, C/G, R, S)``, the outputs ``(B, O, P, Q)``, and a bias added."""
    way = choice.convolve if unobserved() else written_out.convolve
    return way(x, weight, bias, geometry, groups, outputs)


def spread(
    y: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, groups: int, size: Sequence[int]
) -> Tensor:
    """Of outputs ``(B, O, P, Q)`` and a weight ``(O, C/G, R, S)``, images ``(B, C, H, W)``, and a bias added."""
    way = choice.spread if unobserved() else written_out.spread
    return way(y, weight, bias, geometry, groups, size)


def correlate(y: Tensor, x: Tensor, geometry: Geometry, groups: int) -> Tensor:
    """Of outputs ``(B, O, P, Q)`` and images ``(B, C, H, W)``, a weight ``(O, C/G, R, S)``."""
    way = choice.correlate if unobserved() else written_out.correlate
    return way(y, x, geometry, groups)


def gradients(
    y: Tensor, x: Tensor, weight: Tensor, needs: Sequence[bool], geometry: Geometry, groups: int
) -> tuple[Tensor | None, Tensor | None]:
    """`spread` to the images and `correlate` to the weight, of outputs ``(B, O, P, Q)``, where they are needed."""
    made = choice.gradients(y, x, weight, needs, geometry, groups) if unobserved() else None
    if made is not None:
        return made
    grad_x = spread(y, weight, None, geometry, groups, x.shape[2:]) if needs[0] else None
    return grad_x, correlate(y, x, geometry, groups) if needs[1] else None
