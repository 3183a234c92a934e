"""Grid sampling at places that are not finite, and through an affine grid."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from scratchnet.functional import affine_grid, grid_sample

INFINITY, NAN = float("inf"), float("nan")


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_places_that_are_not_finite_have_a_value_and_a_gradient(mode, padding):
    x = torch.arange(1.0, 10.0).view(1, 1, 3, 3).requires_grad_()
    places = torch.tensor([[NAN, -1.0], [INFINITY, -1.0], [-INFINITY, -1.0], [NAN, NAN]])
    grid = places.view(1, 1, 4, 2).requires_grad_()
    y = grid_sample(x, grid, mode, padding, align_corners=True)
    gradients = torch.autograd.grad(y.sum(), (x, grid))
    assert all(t.isfinite().all() for t in (y, *gradients))
    if padding == "zeros":
        assert not y.any()
        assert not gradients[0].any()
    if padding == "border":
        assert y.flatten().tolist() == pytest.approx([1.0, 3.0, 1.0, 1.0])


def test_an_affine_map_of_an_image_is_differentiable_twice():
    torch.manual_seed(0)
    x = torch.randn(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    theta = torch.randn(2, 2, 3, dtype=torch.float64, requires_grad=True)

    def transformed(x, theta):
        return grid_sample(x, affine_grid(theta, (2, 1, 2, 2), False), "bicubic", "border", False)

    assert gradcheck(transformed, (x, theta))
    assert gradgradcheck(transformed, (x, theta))


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_places_on_a_bright_image_keep_their_digits(mode, padding):
    image, places = 1e4 + torch.randn(1, 2, 6, 7), 1.4 * torch.rand(1, 4, 5, 2) - 0.7
    found = []
    for dtype, op in ((torch.float64, torch.nn.functional.grid_sample), (torch.float32, grid_sample)):
        grid = places.to(dtype).requires_grad_()
        y = op(image.to(dtype), grid, mode, padding, align_corners=False)
        found.append(torch.autograd.grad(y.sum(), grid)[0].double())
    inside = (places.abs() < 0.3).all(-1)  # no tap of these lies in the padding
    torch.testing.assert_close(found[1][inside], found[0][inside], rtol=1e-5, atol=1e-4)
