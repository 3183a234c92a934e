r"""Kernel machines: support vector machines, with a kernel and without.

`LinearSVM` scores classes by :math:`x W^\top + b`, `KernelSVM` by :math:`K(x, \text{anchors})\, A^\top + b`: a weight
for each class and training point, of which those that stay away from zero are the support vectors. Both are trained
by a hinge loss on their scores plus `penalty`, half the squared norm of what separates: :math:`W` itself, or
:math:`A K A^\top`, its length in the space of features.

Shapes: N points, M anchors, D features, C classes.

Sources: B. E. Boser, I. M. Guyon and V. N. Vapnik, "A training algorithm for optimal margin classifiers", 1992;
C. Cortes and V. Vapnik, "Support-vector networks", 1995.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from scratchnet.arguments import describe, floating, number
from scratchnet.linear.linear import linear
from scratchnet.similarity.kernels import linear_kernel, polynomial_kernel, rbf_kernel

__all__ = ["KernelSVM", "LinearSVM"]


class LinearSVM(nn.Module):
    """Scores of classes that are linear in the features, to be trained by a hinge loss and `penalty`.

    Train it with ``multi_margin_loss(machine(x), labels) + strength * machine.penalty()``. It has two classes as
    well, with two scores, whose difference is the decision function of the textbook.

    Args:
        in_features: D.
        num_classes: C.
        bias: whether each class has an offset.
        device: where the parameters live.
        dtype: their dtype.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.num_classes = num_classes
        self.weight = nn.Parameter(torch.empty(num_classes, in_features, device=device, dtype=dtype))
        offsets = torch.empty(num_classes, device=device, dtype=dtype) if bias else None
        self.register_parameter("bias", None if offsets is None else nn.Parameter(offsets))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets all to zero: the problem is convex, and no direction is better to start with."""
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """The decision function: scores ``(N, C)`` of points ``(N, D)``."""
        return linear(input, self.weight, self.bias)

    def predict(self, input: Tensor) -> Tensor:
        """The class with the largest score, ``(N,)``."""
        return self(input).argmax(-1)

    def penalty(self) -> Tensor:
        """Half the squared norm of the weights, whose inverse is the width of the margin."""
        return 0.5 * (self.weight * self.weight).sum()

    def extra_repr(self) -> str:
        """The sizes."""
        return f"in_features={self.in_features}, num_classes={self.num_classes}, bias={self.bias is not None}"


class KernelSVM(nn.Module):
    """Scores of classes that are linear in the kernel with some anchors, usually the training points.

    Train it with ``multi_margin_loss(machine(x), labels) + strength * machine.penalty()``.

    Args:
        anchors: points of shape ``(M, D)``, kept as a buffer.
        num_classes: C.
        kernel: ``"linear"``, ``"polynomial"`` or ``"rbf"``.
        gamma: of the polynomial and the RBF kernel; 1 / D by default.
        degree: of the polynomial kernel.
        constant: of the polynomial kernel.
        learn_gamma: whether ``gamma`` is a parameter, kept as its logarithm so that it stays positive.
        bias: whether each class has an offset.

    Raises:
        ValueError: if the kernel is unknown, or ``gamma`` is not positive.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        anchors: Tensor,
        num_classes: int,
        kernel: str = "rbf",
        gamma: float | None = None,
        degree: int = 3,
        constant: float = 1.0,
        learn_gamma: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if floating("KernelSVM", anchors, "anchors").dim() != 2:
            raise RuntimeError(f"KernelSVM: expected anchors of shape (M, D), got {describe(anchors)}")
        if kernel not in ("linear", "polynomial", "rbf"):
            raise ValueError(f"KernelSVM: expected kernel 'linear', 'polynomial' or 'rbf', got {describe(kernel)}")
        start = 1 / anchors.shape[1] if gamma is None else number("KernelSVM", gamma, "gamma")
        if not start > 0:
            raise ValueError(f"KernelSVM: expected gamma above 0, got {gamma}")
        self.num_classes = num_classes
        self.kernel = kernel
        self.degree = degree
        self.constant = constant
        self.anchors = nn.Buffer(anchors.detach().clone())
        log_gamma = torch.full((), math.log(start), dtype=anchors.dtype, device=anchors.device)
        self.log_gamma = nn.Parameter(log_gamma) if learn_gamma else nn.Buffer(log_gamma)
        self.weight = nn.Parameter(anchors.new_zeros(num_classes, anchors.shape[0]))
        self.register_parameter("bias", nn.Parameter(anchors.new_zeros(num_classes)) if bias else None)

    @property
    def gamma(self) -> Tensor:
        """γ."""
        return torch.exp(self.log_gamma)

    def similarity(self, input: Tensor) -> Tensor:
        """The kernel of points ``(N, D)`` with the anchors, ``(N, M)``."""
        if self.kernel == "linear":
            return linear_kernel(input, self.anchors)
        if self.kernel == "rbf":
            return rbf_kernel(input, self.anchors, self.gamma)
        return polynomial_kernel(input, self.anchors, self.degree, self.gamma, self.constant)

    def forward(self, input: Tensor) -> Tensor:
        """The decision function: scores ``(N, C)`` of points ``(N, D)``."""
        return linear(self.similarity(input), self.weight, self.bias)

    def predict(self, input: Tensor) -> Tensor:
        """The class with the largest score, ``(N,)``."""
        return self(input).argmax(-1)

    def penalty(self) -> Tensor:
        """Half the squared norm of the weights in the space of features: half the trace of A K Aᵀ."""
        return 0.5 * (linear(self.weight, self.similarity(self.anchors)) * self.weight).sum()

    def support(self, tolerance: float = 1e-3) -> Tensor:
        """Marks the anchors that carry weight, ``(M,)``: the support vectors."""
        return self.weight.detach().abs().amax(0) > tolerance

    def extra_repr(self) -> str:
        """The sizes and the kernel."""
        anchors, features = self.anchors.shape
        return f"anchors={anchors}, in_features={features}, num_classes={self.num_classes}, kernel={self.kernel!r}"
