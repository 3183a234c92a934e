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

where the last two sum over all samples and positions of a channel. One pass over positions serves all four sums:
:math:`\sum_L g` and :math:`\sum_L g (x - \mu)` for each sample and channel, B · C numbers each.

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
from scratchnet.function import Function, recorded
from scratchnet.layout import in_layout_of
from scratchnet.normalization.channelwise import blocks, drowned, fresh, scale_and_shift
from scratchnet.normalization.parameters import check_parameters

__all__ = ["GroupNormFunction", "Groups", "group_norm"]

Groups = tuple[int, int, int, int]


class GroupNormFunction(Function):
    """Normalizes each group of ``shape`` (B, G, D, L), and returns mean and variance (B, G) too. Keeps x, w, μ, r."""

    auxiliary = 2
    autocast = "float32_on_cuda"

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor | None, bias: Tensor | None, *, shape: Groups, eps: float
    ) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor | None, ...]]:
        """The output, the mean and the biased variance."""
        v, count = x.reshape(shape), _count(shape)
        if not recorded():
            y, mean, var, rstd = _forward_in_blocks(v, weight, bias, eps)
            return (y.reshape(x.shape), mean, var), (x, weight, mean, rstd)
        mean = v.sum((2, 3)) / count
        mean = mean + (_centred(v, mean).sum((2, 3)) / count).detach()  # what rounding left
        centred = _centred(v, mean)
        var = (centred * centred).sum((2, 3)) / count
        rstd = (var + eps) ** -0.5
        w, b = _by_channel(weight, shape), _by_channel(bias, shape)
        y = centred * rstd[:, :, None, None]
        y = y if w is None else y * w
        return ((y if b is None else y + b).reshape(x.shape), mean, var), (x, weight, mean, rstd)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, shape: Groups, eps: float
    ) -> tuple[Tensor | None, ...]:
        """Sums over positions first; the gradients of b and w add them up, and so does the projection."""
        x, weight, mean, rstd = saved
        g, v = grad.reshape(shape), x.reshape(shape)
        if not recorded():
            return _backward_in_blocks(g, v, x, weight, mean, rstd, needs)
        total, aligned = g.sum(3), (g * _centred(v, mean)).sum(3)
        grad_weight = (aligned * rstd[:, :, None]).sum(0) if needs[1] else None
        grad_bias = total.sum(0) if needs[2] else None
        w = _by_channel(weight, shape)
        h = g if w is None else g * w
        grad_x = _projected(h, v, mean, rstd).reshape(x.shape) if needs[0] else None
        return grad_x, _flat(grad_weight), _flat(grad_bias)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, shape: Groups, eps: float) -> Tensor:
        """The projection for x, the product rule for w and b."""
        x, weight, mean, rstd = saved
        v = x.reshape(shape)
        w, tangent_w, tangent_b = (_by_channel(t, shape) for t in (weight, *tangents[1:]))
        y = _projected(tangents[0].reshape(shape), v, mean, rstd)
        y = y if w is None else y * w
        y = y if tangent_w is None else y + _centred(v, mean) * rstd[:, :, None, None] * tangent_w
        return (y if tangent_b is None else y + tangent_b).reshape(x.shape)


def _count(shape: Sequence[int]) -> int:
    """How many values a group has; 1 where it has none, which spares it 0 / 0."""
    return max(1, shape[2] * shape[3])


def _by_channel(parameter: Tensor | None, shape: Groups) -> Tensor | None:
    """A parameter of C numbers as ``(G, D, 1)``."""
    return None if parameter is None else parameter.reshape(shape[1], shape[2], 1)


def _flat(gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else gradient.reshape(-1)


def _centred(v: Tensor, mean: Tensor) -> Tensor:
    return v - mean[:, :, None, None]


def _projected(h: Tensor, v: Tensor, mean: Tensor, rstd: Tensor) -> Tensor:
    """r (h - mean of h - x̂ · mean of h x̂), by group."""
    count = _count(v.shape)
    normal = _centred(v, mean) * rstd[:, :, None, None]
    along = (h * normal).sum((2, 3), keepdim=True) / count
    return rstd[:, :, None, None] * (h - h.sum((2, 3), keepdim=True) / count - normal * along)


def _forward_in_blocks(
    v: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Output, mean, variance and r, block by block, so that the passes over a block find it in cache."""
    count, y = _count(v.shape), fresh(v)
    w, b = _by_element(weight, v.shape), _by_element(bias, v.shape)
    mean, var, rstd = (v.new_empty(v.shape[:2]) for _ in range(3))
    for out, x, m, s, r in blocks(y, v, mean, var, rstd):
        torch.sum(x, (2, 3), out=m).div_(count)
        torch.sub(x, m[:, :, None, None], out=out)
        torch.sum(out * out, (2, 3), out=s).div_(count)
        if bool(drowned(m, s).any()):
            m.add_(out.sum((2, 3)).div_(count))
            torch.sub(x, m[:, :, None, None], out=out)
            torch.sum(out * out, (2, 3), out=s).div_(count)
        torch.add(s, eps, out=r).rsqrt_()
        out.mul_(r[:, :, None, None])
        scale_and_shift(out, w, b)
    return y, mean, var, rstd


def _backward_in_blocks(
    grad: Tensor,
    v: Tensor,
    input: Tensor,
    weight: Tensor | None,
    mean: Tensor,
    rstd: Tensor,
    needs: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """All gradients, block by block."""
    channels, positions, count = v.shape[1:3], v.shape[3], _count(v.shape)
    w = _by_element(weight, v.shape)
    by_channel = v.new_ones(channels) if weight is None else weight.reshape(channels)
    grad_x = fresh(v) if needs[0] else None
    grad_w, grad_b = (v.new_zeros(channels) if need else None for need in needs[1:])
    for g, x, m, r, *rest in blocks(grad, v, mean, rstd, *(() if grad_x is None else (grad_x,))):
        centred = _centred(x, m)
        product = g * centred
        total, aligned = (t.squeeze(3) if positions == 1 else t.sum(3) for t in (g, product))
        if grad_b is not None:
            grad_b.add_(_over_samples(total, torch.ones_like(r)))
        if grad_w is not None:
            grad_w.add_(_over_samples(aligned, r))
        for out in rest:
            shift = _over_group(total, by_channel).div_(-count)
            pull = _over_group(aligned, by_channel).mul_(r).mul_(r).div_(-count)
            centred.mul_(pull[:, :, None, None]).add_(shift[:, :, None, None])
            torch.add(centred, g, out=out) if w is None else torch.addcmul(centred, g, w, out=out)
            out.mul_(r[:, :, None, None])
    grad_x = None if grad_x is None else in_layout_of(input, grad_x.reshape(input.shape))
    return grad_x, _flat(grad_w), _flat(grad_b)


def _by_element(parameter: Tensor | None, shape: Sequence[int]) -> Tensor | None:
    """A parameter written out for each element of a sample, without which `addcmul` is not vectorised."""
    if parameter is None:
        return None
    return parameter.reshape(*shape[1:3], 1).expand(*shape[1:]).contiguous()


def _over_samples(sums: Tensor, factors: Tensor) -> Tensor:
    """Σ over samples of ``(B, G, D)`` times ``(B, G)``; one group is a matrix, whose product with a vector is fast."""
    if sums.shape[1] == 1:
        return (sums[:, 0].t() @ factors[:, 0]).unsqueeze(0)
    return (sums * factors[:, :, None]).sum(0)


def _over_group(sums: Tensor, weight: Tensor) -> Tensor:
    """Σ over the channels of each group of ``(B, G, D)`` times ``(G, D)``."""
    return sums @ weight[0] if sums.shape[1] == 1 else (sums * weight).sum(2)


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
