r"""Batch normalization with the statistics of the batches of all processes.

Process p has :math:`n_p` values of a channel, with mean :math:`\mu_p` and biased variance :math:`\sigma_p^2`. Two sums
over the processes give the statistics of all values:

.. math::
    N = \sum_p n_p, \qquad \mu = \frac1N \sum_p n_p \mu_p, \qquad
    \sigma^2 = \frac1N \sum_p n_p \left(\sigma_p^2 + (\mu_p - \mu)^2\right)

The backward is that of `batch_norm`, with the two means that it takes off the gradient taken over all processes. The
gradients of weight and bias are those of the process's own values; DistributedDataParallel adds them up.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from scratchnet.function import Function
from scratchnet.normalization.batch_norm import project, scale_of, with_parameters
from scratchnet.normalization.channelwise import Planes, centered_sums, moments, standardized
from scratchnet.normalization.running_statistics import follow

__all__ = ["SumFunction", "SyncBatchNormFunction", "sync_batch_norm"]

Group = dist.ProcessGroup | None


class SumFunction(Function):
    """The sum over all processes, each of which passes on the sum of the gradients that all of them got."""

    @staticmethod
    def forward(x: Tensor, *, group: Group) -> tuple[Tensor, tuple[()]]:
        """Leaves x as it is."""
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total, ()

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, group: Group) -> Tensor:
        """The map is symmetric."""
        return SumFunction.apply(grad, group)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, group: Group) -> Tensor:
        """The map is linear."""
        return SumFunction.apply(tangents[0], group)


class SyncBatchNormFunction(Function):
    """Normalizes with the statistics of all processes, and returns mean, variance and the number of values."""

    auxiliary = 3

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor | None, bias: Tensor | None, *, eps: float, group: Group
    ) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], tuple[Tensor | None, ...]]:
        """Combines the statistics of all processes, then normalizes."""
        planes = Planes(x)
        flat, n = planes.of(x), x.numel() // x.shape[1]
        own_mean, own_var = moments(flat, planes.count)
        count, weighted = SumFunction.apply(torch.cat((own_mean.new_tensor([n]), n * own_mean)), group).split(
            (1, len(own_mean))
        )
        mean = weighted / count
        var = SumFunction.apply(n * (own_var + (own_mean - mean) ** 2), group) / count
        rstd = (var + eps) ** -0.5
        y = standardized(flat, mean, scale_of(weight, rstd), bias)
        return (planes.back(y), mean, var, count), (x, weight, mean, rstd, count)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, eps: float, group: Group
    ) -> tuple[Tensor | None, ...]:
        """Takes the two means over all processes off the gradient."""
        x, weight, mean, rstd, count = saved
        planes = Planes(x)
        g, x = planes.of(grad), planes.of(x)
        total, aligned = centered_sums(g, x, mean, rstd)
        mean_g, along = SumFunction.apply(torch.stack((total, aligned)), group) / count
        grad_x = planes.back(project(g, x, mean_g, along, mean, rstd, weight)) if needs[0] else None
        return grad_x, aligned * rstd, total

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, eps: float, group: Group) -> Tensor:
        """Does to the tangent of x what the backward does to the gradient."""
        x, weight, mean, rstd, count = saved
        planes = Planes(x)
        t, x = planes.of(tangents[0]), planes.of(x)
        mean_t, along = SumFunction.apply(torch.stack(centered_sums(t, x, mean, rstd)), group) / count
        y = project(t, x, mean_t, along, mean, rstd, weight)
        return planes.back(with_parameters(y, x, mean, rstd, *tangents[1:]))


def sync_batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float | Tensor,
    eps: float,
    group: Group,
) -> Tensor:
    """Normalizes each channel with the statistics of all processes of the group, in training.

    Args:
        input: floating-point tensor of shape ``(N, C, *)``; N may differ between processes.
        running_mean: tensor of shape ``(C,)``, moved towards the mean, or None.
        running_var: tensor of shape ``(C,)``, moved towards the unbiased variance, or None.
        weight: tensor of shape ``(C,)``, or None for 1.
        bias: tensor of shape ``(C,)``, or None for 0.
        momentum: weight of the batch's statistics in the running ones.
        eps: added to the variance, in the squared unit of the input.
        group: the processes that take part; None for all.
    """
    y, mean, var, count = SyncBatchNormFunction.apply(input, weight, bias, eps, group)
    if running_mean is not None and running_var is not None:
        follow("sync_batch_norm", running_mean, mean, momentum, "running_mean")
        follow("sync_batch_norm", running_var, var * (count / (count - 1)), momentum, "running_var")
    return y
