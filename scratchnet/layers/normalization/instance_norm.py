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
import warnings
from typing import Any

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, number, overridable
from scratchnet.layers.normalization.batch_norm import FixedNormFunction
from scratchnet.layers.normalization.group_norm import GroupNormFunction
from scratchnet.layers.normalization.parameters import check_parameters
from scratchnet.layers.normalization.running_statistics import (
    RunningNorm,
    check_statistics,
    follow,
)

__all__ = ["InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "instance_norm"]


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
    number(op, momentum, "momentum")
    number(op, eps, "eps")
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
    if not use_input_stats:
        return FixedNormFunction.apply(x, weight, bias, running_mean, running_var, eps)
    y, mean, var = GroupNormFunction.apply(x, weight, bias, (x.shape[0], x.shape[1], 1, positions), eps)
    if running_mean is not None and running_var is not None and x.numel() > 0:
        unbiased = var.mean(0) * (positions / (positions - 1))
        follow(op, running_mean, mean.mean(0), momentum, "running_mean")
        follow(op, running_var, unbiased, momentum, "running_var")
    return y


class _InstanceNorm(RunningNorm):
    """What the layers share; they differ in the shapes they accept.

    With momentum None the running statistics stay at their initial values, as PyTorch's do.
    """

    _space: int

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """Applies `instance_norm`; an input without a batch dimension is one sample."""
        name, alone = type(self).__name__, input.dim() == self._space + 1
        if not alone and input.dim() != self._space + 2:
            raise ValueError(
                f"{name}: expected {self._space + 1}D or {self._space + 2}D input of shape "
                f"(N, {self.num_features}, ...) or ({self.num_features}, ...), got {describe(input)}"
            )
        channels = input.shape[0 if alone else 1]
        if channels != self.num_features:
            message = f"{name}: expected {self.num_features} channels, as num_features says, got {describe(input)}"
            if self.affine:
                raise ValueError(message)
            warnings.warn(f"{message}; without parameters this makes no difference", stacklevel=2)
        y = instance_norm(
            input.unsqueeze(0) if alone else input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return y.squeeze(0) if alone else y

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Refuses running statistics of the time before versions, when every layer had them, asked for or not."""
        if local_metadata.get("version") is None and not self.track_running_stats:
            stale = [key for key in (f"{prefix}running_mean", f"{prefix}running_var") if key in state_dict]
            for key in stale:
                del state_dict[key]
            if stale:
                error_msgs.append(
                    f"{type(self).__name__}: expected no running statistics with track_running_stats=False, got "
                    f"{', '.join(stale)}; remove them from the state, or set track_running_stats=True to use them"
                )
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


class InstanceNorm1d(_InstanceNorm):
    """`instance_norm` of inputs of shape ``(N, C, L)`` or ``(C, L)``.

    Args:
        num_features: the number of channels C.
        eps: added to the variance.
        momentum: weight of a batch in the running statistics.
        affine: whether to learn a weight and a bias for each channel.
        track_running_stats: whether to keep running statistics, which evaluation then uses.
        device: where parameters and buffers live.
        dtype: their dtype.
        bias: whether an affine layer has a bias.
    """

    _space = 1


class InstanceNorm2d(_InstanceNorm):
    """`instance_norm` of inputs of shape ``(N, C, H, W)`` or ``(C, H, W)``; otherwise like `InstanceNorm1d`."""

    _space = 2


class InstanceNorm3d(_InstanceNorm):
    """`instance_norm` of inputs of shape ``(N, C, D, H, W)`` or ``(C, D, H, W)``; otherwise like `InstanceNorm1d`."""

    _space = 3
