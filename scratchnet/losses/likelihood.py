r"""Negative log-likelihoods of counts and of measurements.

A count t from a Poisson distribution whose rate is :math:`e^x`, or x itself:

.. math::
    L = e^x - t x
    \qquad \frac{\partial L}{\partial x} = e^x - t
    \qquad \frac{\partial L}{\partial t} = -x

    L = x - t \log (x + \epsilon)
    \qquad \frac{\partial L}{\partial x} = 1 - \frac{t}{x + \epsilon}
    \qquad \frac{\partial L}{\partial t} = -\log (x + \epsilon)

In full, log t! is added, by Stirling's formula :math:`t \log t - t + \frac12 \log 2 \pi t` for t > 1 and 0 below,
with the slope :math:`\log t + \frac{1}{2 t}`. A count of 0 costs its rate, even where the logarithm of that is -∞.

A measurement t from a normal distribution of mean x and variance v, with v held above ε and d = x - t:

.. math::
    L = \frac12 \left(\log v + \frac{d^2}{v}\right)
    \qquad \frac{\partial L}{\partial x} = \frac{d}{v} = -\frac{\partial L}{\partial t}
    \qquad \frac{\partial L}{\partial v} = \frac12 \left(\frac1v - \frac{d^2}{v^2}\right)

and in full :math:`\frac12 \log 2 \pi` more. A variance below ε gets the gradient at ε, so that it can grow again.

Source: Nix and Weigend, "Estimating the Mean and Variance of the Target Probability Distribution", 1994 (normal).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import describe, overridable, promoted, tensor
from scratchnet.function import Elementwise, readable
from scratchnet.losses.pointwise import PointwiseLoss, aligned, numbers, promoted_together
from scratchnet.losses.reduction import reduction_of

__all__ = ["GaussianNLLLossFunction", "PoissonNLLLossFunction", "gaussian_nll_loss", "poisson_nll_loss"]


class PoissonNLLLossFunction(PointwiseLoss):
    """The likelihood of counts. Saves its inputs."""

    contiguous_for = ("mean",)

    @staticmethod
    def value(x: Tensor, target: Tensor, *, log_input: bool, full: bool, eps: float) -> Tensor:
        """The rate less the count times its logarithm."""
        rate, log_rate = (torch.exp(x), x) if log_input else (x, torch.log(x + eps))
        if not x.is_complex():
            log_rate = log_rate.clamp(max=1000)  # beyond which the rate is ∞ in every dtype, and so is the loss
        losses = rate - (target * log_rate).masked_fill(target == 0, 0)
        if not full:
            return losses
        t = target.clamp(min=1)
        stirling = t * torch.log(t) - t + 0.5 * torch.log(2 * math.pi * t)
        return losses + stirling.masked_fill(target <= 1, 0)

    @staticmethod
    def slopes(
        x: Tensor, target: Tensor, *, needs: Sequence[bool], log_input: bool, full: bool, eps: float
    ) -> tuple[Tensor | None, Tensor | None]:
        """Returns the gradients of rate and count."""
        slope_x = (torch.exp(x) - target if log_input else 1 - target / (x + eps)) if needs[0] else None
        slope_target = None
        if needs[1]:
            slope_target = -x if log_input else -torch.log(x + eps)
            if full:
                t = target.clamp(min=1)
                slope_target = slope_target + (torch.log(t) + 0.5 / t).masked_fill(target <= 1, 0)
        return slope_x, slope_target


class GaussianNLLLossFunction(PointwiseLoss):
    """The likelihood of measurements. Saves its inputs."""

    contiguous_for = ("mean",)
    autocast = "float32_on_cuda"

    @staticmethod
    def value(x: Tensor, target: Tensor, variance: Tensor, *, full: bool, eps: float) -> Tensor:
        """Half of the variance's logarithm and of the squared error in its units."""
        v = FloorFunction.apply(variance, eps)
        losses = 0.5 * (torch.log(v) + (x - target) ** 2 / v)
        return losses + 0.5 * math.log(2 * math.pi) if full else losses

    @staticmethod
    def slopes(
        x: Tensor, target: Tensor, variance: Tensor, *, needs: Sequence[bool], full: bool, eps: float
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The error in units of the variance, its negative, and half of 1/v - d²/v²."""
        v = FloorFunction.apply(variance, eps)
        relative = (x - target) / v
        slope_variance = 0.5 * (1 / v - relative**2) if needs[2] else None
        return relative, -relative if needs[1] else None, slope_variance


class FloorFunction(Elementwise):
    """max(variance, ε), through which gradients pass as though it were the variance."""

    @staticmethod
    def value(variance: Tensor, *, eps: float) -> Tensor:
        return variance.clamp(min=eps)

    @staticmethod
    def chain(variance: Tensor, v: Tensor, *, eps: float) -> Tensor:
        return v


@overridable
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The negative log-likelihood of counts under a Poisson distribution.

    Args:
        input: the distribution's rate, or its logarithm, of any shape.
        target: the counts, of a shape that broadcasts with the input's.
        log_input: whether ``input`` is the rate's logarithm.
        full: add Stirling's approximation of log t!, which does not depend on the input.
        size_average: deprecated.
        eps: keeps log(input + eps) finite at a rate of 0.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
        A scalar, or a tensor of the broadcast shape for ``reduction="none"``.

    Raises:
        TypeError: if an argument is no tensor.
        RuntimeError: if the shapes cannot be broadcast.
        ValueError: if a rate is below ``-eps``, or ``reduction`` is unknown.
    """
    op = "poisson_nll_loss"
    reduction = reduction_of(op, reduction, size_average, reduce)
    # Of integers a function is taken, whose result has the default dtype.
    x, target = aligned(op, input=input, target=target)
    x, target = promoted_together(op, promoted(op, x, complex=True), target, complex=not full)
    if not log_input and not x.is_complex() and readable(x) and bool((x < -eps).any()):
        raise ValueError(
            f"{op}: expected rates of at least 0, got {x.detach().min().item():g}; use log_input=True for logarithms"
        )
    return PoissonNLLLossFunction.apply(x, target, log_input, full, eps, reduction)


@overridable
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """The negative log-likelihood of measurements under normal distributions.

    Args:
        input: the means, of any shape.
        target: the measurements, of a shape that broadcasts with the input's.
        var: the variances: a number, or a tensor of the input's shape, or of that shape with its last dimension
            missing, or with one dimension of size 1.
        full: add the constant log(2π) / 2.
        eps: the least variance.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
        A scalar, or a tensor of the broadcast shape for ``reduction="none"``.

    Raises:
        TypeError: if an argument is no tensor.
        ValueError: if a variance is negative or its shape does not fit, or ``reduction`` is unknown.
        RuntimeError: if the shapes cannot be broadcast.
    """
    op = "gaussian_nll_loss"
    x, target = tensor(op, input), tensor(op, target, "target")
    variance = var if isinstance(var, Tensor) else x.new_full((), var, dtype=_real(x))
    if readable(variance) and bool((variance < 0).any()):
        raise ValueError(f"{op}: expected variances of at least 0, got {variance.min().item():g}")
    if not isinstance(var, Tensor):
        variance = variance.expand(x.shape)
    elif variance.shape != x.shape:
        variance = _spread_variance(op, x, variance)
    reduction = reduction_of(op, reduction)
    given = aligned(op, **numbers(op, input=x, target=target, var=variance))
    x, target, variance = promoted_together(op, *given)
    return GaussianNLLLossFunction.apply(x, target, variance, full, eps, reduction)


def _real(x: Tensor) -> torch.dtype:
    return x.dtype if x.is_floating_point() else torch.get_default_dtype()


def _spread_variance(op: str, x: Tensor, variance: Tensor) -> Tensor:
    if variance.shape == x.shape[:-1]:
        return variance.unsqueeze(-1)
    odd = [b for a, b in zip(x.shape, variance.shape, strict=False) if a != b]
    if variance.dim() != x.dim() or sum(odd) != 1:
        raise ValueError(
            f"{op}: expected var of the input's shape {tuple(x.shape)}, of {tuple(x.shape[:-1])}, or with a 1 in "
            f"one place, got {describe(variance)}"
        )
    return variance
