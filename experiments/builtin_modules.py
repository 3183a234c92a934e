"""What PyTorch has no module for, put together from its own parts, so that ``--backend builtin`` can tell each story.

They have the names, arguments and parameters of `scratchnet.nn`'s, so that weights load from one into the other; the
gradients are autograd's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from types import SimpleNamespace

import torch
from torch import Tensor, nn

__all__ = ["KernelSVM", "LearnedELU", "LinearSVM", "Maxout", "l1_penalty", "l2_penalty", "max_norm_", "torch_nn"]


class Maxout(nn.Module):
    """The largest of ``pieces`` neighbouring features."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, input: Tensor) -> Tensor:
        """Of shape (…, pieces * features) to (…, features)."""
        return input.unflatten(-1, (-1, self.pieces)).max(-1).values


class LearnedELU(nn.Module):
    """An ELU whose α is a parameter."""

    def __init__(self, init: float = 1.0) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((1,), init))

    def forward(self, input: Tensor) -> Tensor:
        """The identity above 0, α (exp(x) - 1) below."""
        return torch.where(input > 0, input, self.alpha * torch.expm1(input.clamp(max=0)))


class LinearSVM(nn.Linear):
    """Scores of classes, from zero weights, with half their squared norm as penalty."""

    def reset_parameters(self) -> None:
        """Sets all to zero."""
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def penalty(self) -> Tensor:
        """Half the squared norm of the weights."""
        return 0.5 * self.weight.square().sum()


class KernelSVM(nn.Module):
    """Scores of classes that are linear in the kernel with some anchors, with half their squared norm as penalty."""

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
        """The kernel of points (N, D) with the anchors, (N, M)."""
        gamma = self.log_gamma.exp()
        if self.kernel == "rbf":
            return torch.exp(-gamma * torch.cdist(input, self.anchors).square())
        inner = input @ self.anchors.T
        return inner if self.kernel == "linear" else (gamma * inner + self.constant) ** self.degree

    def forward(self, input: Tensor) -> Tensor:
        """Scores (N, C) of points (N, D)."""
        return nn.functional.linear(self.similarity(input), self.weight, self.bias)

    def penalty(self) -> Tensor:
        """Half the trace of A K Aᵀ."""
        return 0.5 * ((self.weight @ self.similarity(self.anchors)) * self.weight).sum()

    def support(self, tolerance: float = 1e-3) -> Tensor:
        """Which anchors carry weight, (M,)."""
        return self.weight.detach().abs().amax(0) > tolerance


def l1_penalty(parameters: Iterable[Tensor]) -> Tensor:
    """The sum of the absolute values."""
    return torch.linalg.vector_norm(nn.utils.parameters_to_vector(parameters), ord=1)


def l2_penalty(parameters: Iterable[Tensor]) -> Tensor:
    """Half the sum of the squares."""
    return 0.5 * nn.utils.parameters_to_vector(parameters).square().sum()


@torch.no_grad()
def max_norm_(weight: Tensor, limit: float) -> Tensor:
    """Shortens the weights of each unit to a norm of ``limit`` at most."""
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
