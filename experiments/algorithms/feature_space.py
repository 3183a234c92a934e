r"""The space into which a kernel maps, made visible: coordinates of the points whose inner products the kernel gives.

A kernel machine scores a point by :math:`K(x, \text{anchors})\, A^\top`. Descending along A goes badly, since what one
anchor does its neighbours do too. With the Cholesky factor of the anchors' kernel, :math:`K = L L^\top`, the rows of L
are coordinates of the anchors in the space of features, where the machine is a linear one:

.. math::
    w = A L, \qquad K A^\top = L\, w^\top, \qquad A K A^\top = w w^\top, \qquad A = w L^{-1}

and a point x has the coordinates :math:`L^{-1} K(\text{anchors}, x)`.

Shapes: M anchors, N points, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from experiments.errors import ExperimentError

__all__ = ["FeatureSpace"]

RIDGE = 1e-3  # added to the diagonal: points that are nearly the same make K nearly singular


class FeatureSpace:
    """The space that some anchors span.

    Args:
        kernel: Of the anchors with each other, shape (M, M).

    Attributes:
        anchors: Their coordinates, shape (M, M).

    Raises:
        ExperimentError: the kernel is of no such space.
    """

    def __init__(self, kernel: Tensor) -> None:
        ridge = torch.diag_embed(torch.full_like(kernel.diagonal(), RIDGE))
        self.anchors, info = torch.linalg.cholesky_ex(kernel + ridge)
        if int(info):
            raise ExperimentError("the kernel is not positive definite; take another one, or a smaller gamma")

    def coordinates(self, kernel: Tensor) -> Tensor:
        """Of points, from their kernel with the anchors, (N, M) to (N, M)."""
        return torch.linalg.solve_triangular(self.anchors, kernel.T, upper=False).T.contiguous()
