"""Modules that PyTorch lacks, built from its own ops for ``--backend builtin``.

They have the names, arguments and parameters of `scratchnet.nn`'s, so that weights load from one into the other.
Autograd computes their gradients.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from types import SimpleNamespace

import torch
from torch import Tensor, nn

__all__ = ["KernelSVM", "LearnedELU", "LinearSVM", "Maxout", "l1_penalty", "l2_penalty", "max_norm_", "torch_nn"]


class Maxout(nn.Module):
    """Maximum over groups of ``pieces`` features."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, input: Tensor) -> Tensor:
        """Maps (…, features * pieces) to (…, features)."""
        return input.unflatten(-1, (-1, self.pieces)).max(-1).values


class LearnedELU(nn.Module):
    """ELU with a learned α."""

    def __init__(self, init: float = 1.0) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((1,), init))

    def forward(self, input: Tensor) -> Tensor:
        return torch.where(input > 0, input, self.alpha * torch.expm1(input.clamp(max=0)))


class LinearSVM(nn.Linear):
    """Linear class scores with zero initial weights and an L2 penalty."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def penalty(self) -> Tensor:
        return 0.5 * self.weight.square().sum()


class KernelSVM(nn.Module):
    """Class scores that are linear in the kernel between inputs and anchors, with an L2 penalty in feature space."""

    def __init__(
        self,
        anchors: Tensor,
        num_classes: int,
        kernel: str = "rbf",
        gamma: float | None = None,
        degree: int = 3,
        constant: float = 1.0,
    ) -> None:
        super().__init__()
        self.kernel, self.degree, self.constant = kernel, degree, constant
        self.anchors = nn.Buffer(anchors.clone())
        start = 1 / anchors.shape[1] if gamma is None else gamma
        self.log_gamma = nn.Buffer(torch.full((), math.log(start), dtype=anchors.dtype, device=anchors.device))
        self.weight = nn.Parameter(anchors.new_zeros(num_classes, anchors.shape[0]))
        self.bias = nn.Parameter(anchors.new_zeros(num_classes))

    def similarity(self, input: Tensor) -> Tensor:
        """Returns the kernel (N, M) between inputs (N, D) and anchors (M, D)."""
        gamma = self.log_gamma.exp()
        if self.kernel == "rbf":
            return torch.exp(-gamma * torch.cdist(input, self.anchors).square())
        inner = input @ self.anchors.T
        return inner if self.kernel == "linear" else (gamma * inner + self.constant) ** self.degree

    def forward(self, input: Tensor) -> Tensor:
        """Maps inputs (N, D) to scores (N, C)."""
        return nn.functional.linear(self.similarity(input), self.weight, self.bias)

    def penalty(self) -> Tensor:
        """Returns half the trace of A K Aᵀ."""
        return 0.5 * ((self.weight @ self.similarity(self.anchors)) * self.weight).sum()

    def support(self, tolerance: float = 1e-3) -> Tensor:
        """Returns a mask (M,) of the anchors with nonzero weights."""
        return self.weight.detach().abs().amax(0) > tolerance


def l1_penalty(parameters: Iterable[Tensor]) -> Tensor:
    return torch.linalg.vector_norm(nn.utils.parameters_to_vector(parameters), ord=1)


def l2_penalty(parameters: Iterable[Tensor]) -> Tensor:
    return 0.5 * nn.utils.parameters_to_vector(parameters).square().sum()


@torch.no_grad()
def max_norm_(weight: Tensor, limit: float) -> Tensor:
    """Rescales the weights of each unit in place to a norm of at most ``limit``."""
    return weight.renorm_(p=2, dim=0, maxnorm=limit)


torch_nn = SimpleNamespace(
    **{
        **vars(nn),
        "KernelSVM": KernelSVM,
        "LearnedELU": LearnedELU,
        "LinearSVM": LinearSVM,
        "Maxout": Maxout,
    }
)
