r"""Kernels: the similarity of every point of one set with every point of another.

.. math::
    K(x, y) = x \cdot y, \qquad (\gamma\, x \cdot y + c)^d, \qquad e^{-\gamma \lVert x - y \rVert^2}

A kernel is the inner product of two points after some map into a space of features, without the map. With upstream G
(N × M), s = γ x·y + c for the polynomial and :math:`D_{nm} = \lVert x_n - y_m \rVert^2` for the RBF kernel:

.. math::
    \text{linear:} \quad & \bar X = G Y, \quad \bar Y = G^\top X \\
    \text{polynomial:} \quad & H = G \odot d\, s^{d - 1}, \quad \bar X = \gamma H Y, \quad \bar Y = \gamma H^\top X,
        \quad \bar\gamma = \langle H, X Y^\top \rangle \\
    \text{RBF:} \quad & H = G \odot K, \quad \bar x_n = -2 \gamma \sum_m H_{nm} (x_n - y_m), \quad
        \bar y_m = 2 \gamma \sum_n H_{nm} (x_n - y_m), \quad \bar\gamma = -\langle H, D \rangle

Shapes: N and M points, D features.

Source: B. E. Boser, I. M. Guyon and V. N. Vapnik, "A training algorithm for optimal margin classifiers", 1992.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import autocasts, describe, floating, number, overridable
from scratchnet.function import Function, chunked, rows_in_cache

__all__ = [
    "LinearKernelFunction",
    "PolynomialKernelFunction",
    "RBFKernelFunction",
    "linear_kernel",
    "polynomial_kernel",
    "rbf_kernel",
]

Gamma = float | Tensor


class LinearKernelFunction(Function):
    """All inner products. Keeps both sets of points."""

    autocast = "low_precision"

    @staticmethod
    def forward(x: Tensor, y: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """One product."""
        return x @ y.t(), (x, y)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        """One product each."""
        x, y = saved
        grad_x = grad @ y if needs[0] else None
        grad_y = grad.t() @ x if needs[1] else None
        return grad_x, grad_y

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor]) -> Tensor:
        """Product rule."""
        x, y = saved
        return tangents[0] @ y.t() + x @ tangents[1].t()


class PolynomialKernelFunction(Function):
    """Powers of inner products. Keeps both sets of points and γ."""

    autocast = "low_precision"

    @staticmethod
    def forward(
        x: Tensor, y: Tensor, gamma: Tensor, *, degree: int, constant: float
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """The power."""
        return (gamma * (x @ y.t()) + constant) ** degree, (x, y, gamma)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, degree: int, constant: float
    ) -> tuple[Tensor | None, ...]:
        """Through the power, then as the linear kernel."""
        x, y, gamma = saved
        inner = x @ y.t()
        push = grad * _power_slope(gamma * inner + constant, degree)
        grad_x = gamma * (push @ y) if needs[0] else None
        grad_y = gamma * (push.t() @ x) if needs[1] else None
        grad_gamma = (push * inner).sum() if needs[2] else None
        return grad_x, grad_y, grad_gamma

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, degree: int, constant: float) -> Tensor:
        """Product rule, then the power's slope."""
        x, y, gamma = saved
        inner = x @ y.t()
        change = tangents[2] * inner + gamma * (tangents[0] @ y.t() + x @ tangents[1].t())
        return _power_slope(gamma * inner + constant, degree) * change


class RBFKernelFunction(Function):
    """Exponentials of squared distances. Keeps both sets of points, γ and its output."""

    autocast = "widest"

    @staticmethod
    def forward(x: Tensor, y: Tensor, gamma: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """1 where two points are the same, and less with their distance."""
        kernel = torch.exp(-gamma * _squared_distances(x, y))
        return kernel, (x, y, gamma, kernel)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool]) -> tuple[Tensor | None, ...]:
        """Each pair pulls its points together, or pushes them apart, along their difference."""
        x, y, gamma, kernel = saved
        push = grad * kernel
        grad_x = grad_y = None
        if needs[0] or needs[1]:
            along_x, along_y = chunked(_pulls, push, x, y=y, size=rows_in_cache(y.numel()), added=(1,))
            grad_x, grad_y = -2 * gamma * along_x, 2 * gamma * along_y
        grad_gamma = -(push * _squared_distances(x, y)).sum() if needs[2] else None
        return grad_x, grad_y, grad_gamma

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor]) -> Tensor:
        """The change of γ times the distance, times the kernel."""
        x, y, gamma, kernel = saved
        tangent_x, tangent_y, tangent_gamma = tangents
        change = 2 * ((x.unsqueeze(1) - y) * (tangent_x.unsqueeze(1) - tangent_y)).sum(2)
        return -kernel * (tangent_gamma * _squared_distances(x, y) + gamma * change)


def _power_slope(s: Tensor, degree: int) -> Tensor:
    return degree * s ** (degree - 1) if degree else s * 0


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Sums squared differences of all pairs, since expanded squares of large values would cancel."""
    return chunked(_squared_distances_from, x, y=y, size=rows_in_cache(y.numel()))


def _squared_distances_from(x: Tensor, *, y: Tensor) -> Tensor:
    return (x.unsqueeze(1) - y).square().sum(2)


def _pulls(push: Tensor, x: Tensor, *, y: Tensor) -> tuple[Tensor, Tensor]:
    """Weighs the differences of all pairs, and adds them up for each x and for each y."""
    weighed = push.unsqueeze(2) * (x.unsqueeze(1) - y)
    return weighed.sum(1), weighed.sum(0)


@overridable
def linear_kernel(x: Tensor, y: Tensor) -> Tensor:
    """The inner product of every point of one set with every point of another.

    Args:
        x: floating-point tensor of shape ``(N, D)``.
        y: floating-point tensor of shape ``(M, D)``.

    Returns:
        A tensor of shape ``(N, M)``.

    Raises:
        TypeError: if an argument is no tensor.
        NotImplementedError: if one is not floating point.
        RuntimeError: if the shapes do not fit together, or the dtypes differ.
    """
    return LinearKernelFunction.apply(*_points("linear_kernel", x, y))


@overridable
def polynomial_kernel(x: Tensor, y: Tensor, degree: int = 3, gamma: Gamma = 1.0, constant: float = 1.0) -> Tensor:
    """Powers of inner products: ``(gamma * x · y + constant) ** degree``.

    Args:
        x: floating-point tensor of shape ``(N, D)``.
        y: floating-point tensor of shape ``(M, D)``.
        degree: the power, an integer of at least 0.
        gamma: scales the inner products; as a tensor of one element it receives a gradient.
        constant: the weight of the lower powers.

    Returns:
        A tensor of shape ``(N, M)``.

    Raises:
        TypeError: if an argument is no tensor, or an option no number.
        NotImplementedError: if a tensor is not floating point.
        RuntimeError: if the shapes do not fit together, or the dtypes differ.
        ValueError: if ``degree`` is negative.
    """
    op = "polynomial_kernel"
    x, y = _points(op, x, y)
    if degree < 0:
        raise ValueError(f"{op}: expected degree of at least 0, got {degree}")
    return PolynomialKernelFunction.apply(x, y, _gamma(op, gamma, x), degree, number(op, constant, "constant"))


@overridable
def rbf_kernel(x: Tensor, y: Tensor, gamma: Gamma = 1.0) -> Tensor:
    """Exponentials of squared distances: ``exp(-gamma * ‖x - y‖²)``.

    Args:
        x: floating-point tensor of shape ``(N, D)``.
        y: floating-point tensor of shape ``(M, D)``.
        gamma: how fast the kernel falls; as a tensor of one element it receives a gradient.

    Returns:
        A tensor of shape ``(N, M)``, with values in (0, 1] for positive ``gamma``.

    Raises:
        TypeError: if an argument is no tensor, or ``gamma`` no number.
        NotImplementedError: if a tensor is not floating point.
        RuntimeError: if the shapes do not fit together, or the dtypes differ.
    """
    x, y = _points("rbf_kernel", x, y)
    return RBFKernelFunction.apply(x, y, _gamma("rbf_kernel", gamma, x))


def _points(op: str, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    floating(op, x, "x"), floating(op, y, "y")
    if x.dim() != 2 or y.dim() != 2 or x.shape[1] != y.shape[1]:
        raise RuntimeError(
            f"{op}: expected points of shape (N, D) and (M, D), got {describe(x)} and {describe(y)}"
        )
    if x.dtype is not y.dtype and not autocasts(x):
        raise RuntimeError(f"{op}: expected points of one dtype, got {describe(x)} and {describe(y)}")
    return x, y


def _gamma(op: str, gamma: Gamma, like: Tensor) -> Tensor:
    if not isinstance(gamma, Tensor):
        return torch.full((), number(op, gamma, "gamma"), dtype=like.dtype, device=like.device)
    if gamma.numel() != 1 or (gamma.dtype is not like.dtype and not autocasts(like)):
        raise RuntimeError(f"{op}: expected gamma of one element in the points' dtype, got {describe(gamma)}")
    return gamma.reshape(())
