r"""Instance normalization: each channel of each sample is normalized with its own mean and variance.

.. math::
    y_{bcl} = w_c \frac{x_{bcl} - \mu_{bc}}{\sqrt{\sigma^2_{bc} + \varepsilon}} + b_c, \qquad
    \mu_{bc} = \frac1L \sum_l x_{bcl}, \qquad \sigma^2_{bc} = \frac1L \sum_l (x_{bcl} - \mu_{bc})^2

This is group normalization with a group for each channel, whose Function derives the gradient:

.. math::
    \frac{\partial L}{\partial x_l}
    = w r \left(g_l - \frac1L \sum_m g_m - \hat x_l\, \frac1L \sum_m g_m \hat x_m\right)

Running statistics, where they are kept, follow the mean over the samples of μ and of the unbiased variance; when
they take the place of a sample's own, the map is the affine one of batch normalization in evaluation.

Shapes: B samples, C channels, L positions in any number of dimensions.

Source: D. Ulyanov, A. Vedaldi and V. Lempitsky, "Instance normalization: the missing ingredient for fast
stylization", 2016.
"""

from __future__ import annotations

import math

from torch import Tensor

from scratchnet.arguments import describe, floating, overridable
from scratchnet.normalization.batch_norm import FixedNormFunction
from scratchnet.normalization.group_norm import GroupNormFunction
from scratchnet.normalization.parameters import check_parameters
from scratchnet.normalization.running_statistics import check_statistics, follow

__all__ = ["instance_norm"]


@overridable
def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalizes each channel of each sample, then scales it by ``weight`` and shifts it by ``bias``.

    Args:
        input: floating-point tensor of shape ``(N, C, *)``.
        running_mean: tensor of shape ``(C,)``, overwritten where the input's statistics are used.
        running_var: tensor of shape ``(C,)``, overwritten where the input's statistics are used.
        weight: tensor of shape ``(C,)``, or None for 1.
        bias: tensor of shape ``(C,)``, or None for 0.
        use_input_stats: whether to use each sample's own statistics, or else the running ones.
        momentum: weight of the input's statistics in the running ones. An input without samples leaves these as
            they are.
        eps: added to the variance, in the squared unit of the input.

    Returns:
        A tensor of the input's shape and dtype. All tensors have one dtype, or a float16 or bfloat16 input comes
        with float32 parameters and statistics.

    Raises:
        TypeError: if ``input`` is no tensor or an option no number.
        NotImplementedError: if ``input`` is not floating point.
        ValueError: if a channel of a sample has a single value, or one of the running statistics comes without
            the other.
        RuntimeError: if shapes or dtypes do not fit, or running statistics are missing or require grad.
    """
    op = "instance_norm"
    x = floating(op, input)
    positions = math.prod(x.shape[2:])
    if use_input_stats and positions == 1:
        raise ValueError(
            f"instance_norm: expected more than 1 value per channel of a sample, got {describe(x)}; a single "
            "value would become its bias"
        )
    if x.dim() < 2:
        raise IndexError(f"instance_norm: expected input of shape (N, C, ...), got {describe(x)}")
    check_parameters(op, x, weight=weight, bias=bias, running_mean=running_mean, running_var=running_var)
    check_statistics(op, running_mean, running_var, not use_input_stats, instead="use_input_stats=True")
    x = x.contiguous()
    if not use_input_stats:
        return FixedNormFunction.apply(x, weight, bias, running_mean, running_var, eps)
    y, mean, var = GroupNormFunction.apply(x, weight, bias, (x.shape[0], x.shape[1], 1, positions), eps)
    if running_mean is not None and running_var is not None and x.numel() > 0:
        unbiased = var.mean(0) * (positions / (positions - 1))
        follow(op, running_mean, mean.mean(0), momentum, "running_mean")
        follow(op, running_var, unbiased, momentum, "running_var")
    return y
