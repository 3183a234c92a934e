r"""Coordinates in the feature space of a kernel, in which a kernel machine is linear.

A kernel machine scores a point by :math:`K(x, \text{anchors})\, A^\top`. Gradient descent on A converges slowly,
because neighboring anchors have nearly the same effect. With the Cholesky factor of the anchors' kernel,
:math:`K = L L^\top`, the rows of L are coordinates of the anchors in feature space, where the machine is linear:

.. math::
    w = A L, \qquad K A^\top = L\, w^\top, \qquad A K A^\top = w w^\top, \qquad A = w L^{-1}

A point x has the coordinates :math:`L^{-1} K(\text{anchors}, x)`.

Shapes: M anchors, N points, C classes.

Shapes: M anchors, N points, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from experiments.errors import ExperimentError

__all__ = ["FeatureSpace"]

RIDGE = 1e-3  # added to the diagonal, because nearly equal points make K nearly singular


class FeatureSpace:
    """The subspace of feature space that the anchors span.

    Args:
        kernel: The kernel between all anchors, shape (M, M).

    Attributes:
        anchors: Coordinates of the anchors, shape (M, M).

    Raises:
        ExperimentError: The kernel is not positive definite.
    """

    def __init__(self, kernel: Tensor) -> None:
        ridge = torch.diag_embed(torch.full_like(kernel.diagonal(), RIDGE))
        self.anchors, info = torch.linalg.cholesky_ex(kernel + ridge)
        if int(info):
            raise ExperimentError("the kernel is not positive definite; choose another kernel or a smaller gamma")

    def coordinates(self, kernel: Tensor) -> Tensor:
        """Maps the kernel between points and anchors, (N, M), to coordinates of the points, (N, M)."""
        return torch.linalg.solve_triangular(self.anchors, kernel.T, upper=False).T.contiguous()
