"""Coordinates in the feature space of a kernel."""

from __future__ import annotations

import pytest
import torch

from experiments.algorithms.feature_space import RIDGE, FeatureSpace
from experiments.errors import ExperimentError
from scratchnet.functional import rbf_kernel


def test_inner_products_of_coordinates_equal_the_kernel():
    generator = torch.Generator().manual_seed(0)
    anchors, points = (torch.randn(n, 3, generator=generator, dtype=torch.float64) for n in (12, 5))
    kernel = rbf_kernel(anchors, anchors, 0.3)
    space = FeatureSpace(kernel)
    ridge = RIDGE * torch.eye(12, dtype=torch.float64)
    torch.testing.assert_close(space.anchors @ space.anchors.T, kernel + ridge)
    across = rbf_kernel(points, anchors, 0.3)
    torch.testing.assert_close(space.coordinates(across) @ space.anchors.T, across)


def test_a_linear_machine_in_feature_space_equals_a_kernel_machine():
    generator = torch.Generator().manual_seed(0)
    anchors = torch.randn(12, 3, generator=generator, dtype=torch.float64)
    kernel = rbf_kernel(anchors, anchors, 0.3)
    space = FeatureSpace(kernel)
    weight = torch.randn(4, 12, generator=generator, dtype=torch.float64)
    a = torch.linalg.solve_triangular(space.anchors.T, weight.T, upper=True).T  # A = w L⁻¹
    torch.testing.assert_close(
        space.anchors @ weight.T, (kernel + RIDGE * torch.eye(12, dtype=torch.float64)) @ a.T
    )
    torch.testing.assert_close(space.coordinates(kernel) @ weight.T, kernel @ a.T)


def test_a_matrix_that_is_not_positive_definite_is_an_error():
    with pytest.raises(ExperimentError, match="not positive definite"):
        FeatureSpace(-torch.eye(3))
