r"""Group normalization, of which layer and instance normalization are the two ends.

A sample's C channels fall into G groups of D = C / G channels with L positions each. Every group is normalized
with the mean and variance of its own n = D · L values, and then each channel is scaled by its weight w and shifted
by its bias b. With i for a value of the group:

.. math::
    \mu = \frac1n \sum_i x_i, \qquad \sigma^2 = \frac1n \sum_i (x_i - \mu)^2, \qquad
    r = \frac{1}{\sqrt{\sigma^2 + \varepsilon}}, \qquad \hat x_i = r\,(x_i - \mu), \qquad y_i = w_i \hat x_i + b_i

It differs from batch normalization in whose values are pooled, and in that the weight varies within them. So the
gradient is first that of :math:`\hat x`, which is :math:`h_i = w_i g_i` with :math:`g = \partial L / \partial y`,
and then loses its mean and its part along :math:`\hat x`, as batch normalization derives:

.. math::
    \frac{\partial L}{\partial x_i}
    = r \left(h_i - \frac1n \sum_j h_j - \hat x_i\, \frac1n \sum_j h_j \hat x_j\right), \qquad
    \frac{\partial L}{\partial b} = \sum g, \qquad \frac{\partial L}{\partial w} = \sum g\, \hat x

where the last two sum over all samples and positions of a channel. All four sums are sums of two, of :math:`g` and of
:math:`g\,(x - \mu)` over the positions of each channel of a sample.

The Jacobian of :math:`\hat x` is symmetric: forward mode projects the tangent as backward projects h.

One group is layer normalization without its spatial weights, a group for each channel is instance normalization.

Shapes: B samples, C = G · D channels in G groups, L positions.

Source: Y. Wu and K. He, "Group normalization", 2018.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, overridable
from scratchnet.function import Function, reuse, rowwise
from scratchnet.layout import in_layout_of
from scratchnet.normalization.parameters import check_parameters
from scratchnet.normalization.rows import center, project

__all__ = ["GroupNormFunction", "Groups", "group_norm"]

Groups = tuple[int, int, int, int]
Maybe = Tensor | None
GROUP = (-2, -1)


class GroupNormFunction(Function):
    """Normalizes each group of ``shape`` (B, G, D, L), and returns mean and variance (B, G) too. Saves x, w, μ, r."""

    auxiliary = 2
    autocast = "float32_on_cuda"

    @staticmethod
    def forward(
        x: Tensor, weight: Maybe, bias: Maybe, *, shape: Groups, eps: float
    ) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Maybe, ...]]:
        """Returns the output, the mean and the biased variance."""
        w, b = _by_channel(weight, shape), _by_channel(bias, shape)
        y, mean, var, rstd = rowwise(_forward, x.reshape(shape), w, b, eps=eps)
        return (y.reshape(x.shape), mean.reshape(shape[:2]), var.reshape(shape[:2])), (x, weight, mean, rstd)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, shape: Groups, eps: float
    ) -> tuple[Maybe, ...]:
        """Projects for x, and sums over samples and positions for w and b."""
        x, weight, mean, rstd = saved
        w = _by_channel(weight, shape)
        rstd = rstd if x.numel() else torch.zeros_like(rstd)  # of no elements the sums are 0, and r is NaN
        tensors = grad.reshape(shape), x.reshape(shape), w, mean, rstd
        grads = rowwise(_backward, *tensors, positions=max(1, shape[3]), needs=tuple(needs))
        grad_x = None if grads[0] is None else in_layout_of(x, grads[0].reshape(x.shape))
        return grad_x, *(None if g is None else g.reshape(-1) for g in grads[1:])

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, shape: Groups, eps: float) -> Tensor:
        """Projects for x, and applies the product rule for w and b."""
        x, weight, mean, rstd = saved
        w, tangent_w, tangent_b = (_by_channel(t, shape) for t in (weight, *tangents[1:]))
        normal = (x.reshape(shape) - mean) * rstd
        y = project(tangents[0].reshape(shape), normal, rstd, GROUP)
        y = y if w is None else y * w
        y = y if tangent_w is None else y + normal * tangent_w
        return (y if tangent_b is None else y + tangent_b).reshape(x.shape)


def _by_channel(parameter: Maybe, shape: Groups) -> Maybe:
    """Returns a parameter of C numbers as ``(G, D, 1)``."""
    return None if parameter is None else parameter.reshape(shape[1], shape[2], 1)


def _forward(v: Tensor, w: Maybe, b: Maybe, *, eps: float) -> tuple[Tensor, ...]:
    centered, mean, var, rstd = center(v, GROUP, eps)
    y = reuse(torch.mul, centered, rstd if w is None else rstd * w)
    return (y if b is None else y + b), mean, var, rstd


def _backward(
    g: Tensor, v: Tensor, w: Maybe, mean: Tensor, rstd: Tensor, *, positions: int, needs: tuple[bool, ...]
) -> tuple[Maybe, ...]:
    """Sums over the positions of each channel serve all gradients."""
    centered = v - mean
    total, aligned = g.sum(-1, keepdim=True), (g * centered).sum(-1, keepdim=True)
    grad_v = None
    if needs[0]:
        mean_h, along = ((x if w is None else x * w).mean(-2, keepdim=True) / positions for x in (total, aligned))
        pull = reuse(torch.mul, centered, rstd * (rstd * (rstd * along)))  # in this order in range
        grad_v = g * (rstd if w is None else rstd * w) - rstd * mean_h - pull
    grad_w = (aligned * rstd).sum(0, keepdim=True) if needs[1] else None
    return grad_v, grad_w, total.sum(0, keepdim=True) if needs[2] else None


@overridable
def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalizes each sample's groups of channels, then scales and shifts each channel.

    Args:
        input: floating-point tensor of shape ``(N, C, *)``.
        num_groups: the number of groups, which divides C.
        weight: tensor of shape ``(C,)``, or None for 1.
        bias: tensor of shape ``(C,)``, or None for 0.
        eps: added to the variance, in the squared unit of the input.

    Returns:
        A tensor of the input's shape, dtype and memory format. All tensors have one dtype, or a float16 or
        bfloat16 input comes with float32 parameters.

    Raises:
        TypeError: if ``input`` is no tensor or ``eps`` no number.
        NotImplementedError: if ``input`` is not floating point.
        ValueError: if a single group has a single value.
        ZeroDivisionError: if ``num_groups`` is 0.
        RuntimeError: if shapes or dtypes do not fit.
    """
    x = floating("group_norm", input)
    if x.dim() < 2:
        raise RuntimeError(f"group_norm: expected input of shape (N, C, ...), got {describe(x)}")
    _check_groups(x, num_groups)
    check_parameters("group_norm", x, weight=weight, bias=bias)
    shape = (x.shape[0], num_groups, x.shape[1] // num_groups, math.prod(x.shape[2:]))
    return in_layout_of(x, GroupNormFunction.apply(x, weight, bias, shape, eps)[0])


def _check_groups(x: Tensor, groups: int) -> None:
    if groups == 0:
        raise ZeroDivisionError("group_norm: expected num_groups of at least 1, got 0")
    if groups < 0 or x.shape[1] % groups:
        raise RuntimeError(
            f"group_norm: expected a positive num_groups that divides the input's {x.shape[1]} channels "
            f"(dimension 1), got {groups} for {describe(x)}"
        )
    if x.shape[0] * x.shape[1] // groups * math.prod(x.shape[2:]) == 1:
        raise ValueError(
            f"group_norm: expected more than 1 value per group, got {describe(x)} in {groups} group(s); "
            "use fewer groups or a larger input"
        )
