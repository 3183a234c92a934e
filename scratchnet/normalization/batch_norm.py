r"""Batch normalization.

In training, each channel is normalized with the mean and variance of its own n values, those of all samples and
positions of the batch, and then scaled by its weight w and shifted by its bias b:

.. math::
    \mu = \frac1n \sum_i x_i, \qquad \sigma^2 = \frac1n \sum_i (x_i - \mu)^2, \qquad
    \hat x_i = r\,(x_i - \mu), \qquad y_i = w \hat x_i + b, \qquad r = \frac{1}{\sqrt{\sigma^2 + \varepsilon}}

With :math:`g = \partial L / \partial y`, bias and weight get

.. math::
    \frac{\partial L}{\partial b} = \sum_i g_i, \qquad \frac{\partial L}{\partial w} = \sum_i g_i \hat x_i

while :math:`x_i` acts on its own :math:`\hat x_i`, and on every :math:`\hat x_j` through mean and variance:

.. math::
    \frac{\partial \mu}{\partial x_i} = \frac1n, \qquad
    \frac{\partial r}{\partial x_i} = -\frac{r^3}{2}\,\frac{\partial \sigma^2}{\partial x_i}
    = -\frac{r^2 \hat x_i}{n}, \qquad
    \frac{\partial \hat x_j}{\partial x_i} = r \left(\delta_{ij} - \frac1n - \frac{\hat x_i \hat x_j}{n}\right)

Summed against :math:`w g_j`, this gives three terms: the gradient, less its mean, less its part along
:math:`\hat x`:

.. math::
    \frac{\partial L}{\partial x_i}
    = w r \left(g_i - \frac1n \sum_j g_j - \hat x_i\, \frac1n \sum_j g_j \hat x_j\right)

The Jacobian is symmetric, so forward mode does to the tangent what backward does to the gradient.

In evaluation the statistics are constants, running averages over the batches seen in training, and y is an
affine function of x.

Source: S. Ioffe and C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal
covariate shift", 2015; for the variance, T. F. Chan, G. H. Golub and R. J. LeVeque, "Algorithms for computing the
sample variance", 1983.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from scratchnet.arguments import describe, floating, number, overridable
from scratchnet.function import Function
from scratchnet.normalization.channelwise import Planes, affine, centered_sums, moments, projected, standardized
from scratchnet.normalization.parameters import check_parameters
from scratchnet.normalization.running_statistics import check_statistics, follow

__all__ = [
    "BatchNormFunction",
    "FixedNormFunction",
    "batch_norm",
    "normalize_batch",
    "project",
    "scale_of",
    "with_parameters",
]


class BatchNormFunction(Function):
    """Normalizes with the statistics of the batch, and returns them too. Saves x, w, μ and r."""

    auxiliary = 2

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor | None, bias: Tensor | None, *, eps: float
    ) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor | None, ...]]:
        """The output, the mean and the biased variance."""
        planes = Planes(x)
        flat = planes.of(x)
        mean, var = moments(flat, planes.count)
        rstd = (var + eps) ** -0.5
        y = planes.back(standardized(flat, mean, scale_of(weight, rstd), bias))
        return (y, mean, var), (x, weight, mean, rstd)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, eps: float
    ) -> tuple[Tensor | None, ...]:
        """The sums are the gradients of b and w; the projection takes them off the gradient of x."""
        x, weight, mean, rstd = saved
        planes = Planes(x)
        g, x = planes.of(grad), planes.of(x)
        total, aligned = centered_sums(g, x, mean, rstd)
        grad_x = None
        if needs[0]:
            flat = project(g, x, total / planes.count, aligned / planes.count, mean, rstd, weight)
            grad_x = planes.back(flat)
        return grad_x, aligned * rstd, total

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, eps: float) -> Tensor:
        """The projection for x, the product rule for w and b."""
        x, weight, mean, rstd = saved
        planes = Planes(x)
        t, x = planes.of(tangents[0]), planes.of(x)
        total, aligned = centered_sums(t, x, mean, rstd)
        y = project(t, x, total / planes.count, aligned / planes.count, mean, rstd, weight)
        return planes.back(with_parameters(y, x, mean, rstd, *tangents[1:]))


class FixedNormFunction(Function):
    """Normalizes with given statistics, which get no gradient. Saves all inputs but b."""

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, var: Tensor, *, eps: float
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """The affine map."""
        planes = Planes(x)
        scale = scale_of(weight, (var + eps) ** -0.5)
        shift = -mean * scale if bias is None else bias - mean * scale
        return planes.back(affine(planes.of(x), scale, shift)), (x, weight, mean, var)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, eps: float
    ) -> tuple[Tensor | None, ...]:
        """The slope of the map for x, and the sums over each channel for the rest."""
        x, weight, mean, var = saved
        rstd = (var + eps) ** -0.5
        scale = scale_of(weight, rstd)
        planes = Planes(x)
        g = planes.of(grad)
        grad_x = planes.back(g * scale[:, None]) if needs[0] else None
        if not (needs[1] or needs[2]):
            return grad_x, None, None, None, None
        total, aligned = centered_sums(g, planes.of(x), mean, rstd)
        # Of no elements the sum is 0, whatever the variance is.
        return grad_x, aligned * rstd if x.numel() else aligned, total, None, None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, eps: float) -> Tensor:
        """The slope of the map for x, the product rule for w and b."""
        x, weight, mean, var = saved
        rstd = (var + eps) ** -0.5
        planes = Planes(x)
        y = planes.of(tangents[0]) * scale_of(weight, rstd)[:, None]
        return planes.back(with_parameters(y, planes.of(x), mean, rstd, *tangents[1:3]))


def scale_of(weight: Tensor | None, rstd: Tensor) -> Tensor:
    """Returns w r."""
    return rstd if weight is None else weight * rstd


def project(
    v: Tensor, x: Tensor, mean_v: Tensor, along: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor | None
) -> Tensor:
    """w r (v - mean of v - x̂ · mean of v x̂), where ``along`` is the mean of v (x - μ)."""
    return projected(v, x, mean, rstd**2 * along, mean_v, scale_of(weight, rstd))


def with_parameters(
    tangent: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    """Adds what the tangents of w and b bring: ẇ x̂ + ḃ."""
    if weight is not None:
        tangent = tangent + (x - mean[:, None]) * (weight * rstd)[:, None]
    return tangent if bias is None else tangent + bias[:, None]


@overridable
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalizes each channel, then scales it by ``weight`` and shifts it by ``bias``.

    In training the statistics are the batch's own, and the running ones, if given, move towards them by the
    factor ``momentum``, the variance in its unbiased form. An empty batch leaves them as they are. In evaluation
    the running statistics are used.

    Args:
        input: floating-point tensor of shape ``(N, C, *)``.
        running_mean: tensor of shape ``(C,)``, overwritten in training.
        running_var: tensor of shape ``(C,)``, overwritten in training.
        weight: tensor of shape ``(C,)``, or None for 1.
        bias: tensor of shape ``(C,)``, or None for 0.
        training: whether to use the batch's statistics.
        momentum: weight of the batch's statistics in the running ones.
        eps: added to the variance, in the squared unit of the input.

    Returns:
        A tensor of the input's shape and dtype. All tensors have one dtype, or a float16 or bfloat16 input comes
        with float32 parameters and statistics.

    Raises:
        TypeError: if ``input`` is no tensor or an option no number.
        NotImplementedError: if ``input`` is not floating point.
        ValueError: if a channel has a single value in training, ``eps`` is negative, or zero in training, or one
            of the running statistics comes without the other.
        RuntimeError: if shapes or dtypes do not fit, evaluation lacks running statistics, or these require grad.
    """
    return normalize_batch(input, running_mean, running_var, weight, bias, training, momentum, eps)


def normalize_batch(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float | Tensor,
    eps: float,
) -> Tensor:
    """`batch_norm`, whose momentum may also be a tensor."""
    if isinstance(input, Tensor) and input.shape == (0,):  # PyTorch takes it for a batch without channels
        row = input.unsqueeze(0)
        return normalize_batch(row, running_mean, running_var, weight, bias, training, momentum, eps).squeeze(0)
    eps = number("batch_norm", eps, "eps")
    if not isinstance(momentum, Tensor):
        momentum = number("batch_norm", momentum, "momentum")
    _check_input(input, training, eps)
    given = {"weight": weight, "bias": bias, "running_mean": running_mean, "running_var": running_var}
    check_parameters("batch_norm", input, **given)
    check_statistics("batch_norm", running_mean, running_var, needed=not training, instead="training=True")
    if not training:
        return FixedNormFunction.apply(input, weight, bias, running_mean, running_var, eps)
    y, mean, var = BatchNormFunction.apply(input, weight, bias, eps)
    if running_mean is not None and running_var is not None and input.numel() > 0:
        count = Planes(input).count
        follow("batch_norm", running_mean, mean, momentum, "running_mean")
        follow("batch_norm", running_var, var * (count / (count - 1)), momentum, "running_var")
    return y


def _check_input(input: Tensor, training: bool, eps: float) -> None:
    floating("batch_norm", input)
    if input.dim() < 2:
        raise RuntimeError(
            f"batch_norm: expected input of shape (N, C, ...), got {describe(input)}; "
            "one sample needs a batch dimension of its own: input.unsqueeze(0)"
        )
    if eps < 0 or (training and eps == 0):
        raise ValueError(f"batch_norm: expected eps > 0 in training and eps >= 0 in evaluation, got {eps}")
    if training and input.numel() > 0 and input.numel() == input.shape[1]:
        raise ValueError(
            f"batch_norm: expected more than 1 value per channel in training, got {describe(input)}; "
            "use a larger batch, drop the last one (drop_last=True), or evaluate with .eval()"
        )
