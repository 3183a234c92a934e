"""Resampling by matrices against resampling by taps, which they stand in for."""

from __future__ import annotations

import sys

import pytest
import torch

from scratchnet.function.dispatch import FORMS
from scratchnet.functional import interpolate

MODULE = sys.modules["scratchnet.resampling.resampling"]


FORM = next(forms for forms in FORMS if forms.fast is MODULE._multiplied)


def value_and_gradient(x, **options):
    leaf = x.detach().requires_grad_()
    y = interpolate(leaf, **options)
    (grad,) = torch.autograd.grad(y, leaf, torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view_as(y))
    return y.detach(), grad


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((2, 3, 5), {"mode": "linear", "scale_factor": 2}),
        ((2, 3, 5, 4), {"mode": "bilinear", "size": (3, 9)}),
        ((2, 3, 5, 4), {"mode": "bicubic", "scale_factor": 1.5, "align_corners": True}),
        ((2, 3, 5, 4), {"mode": "area", "size": (2, 3)}),
        ((1, 2, 3, 4, 5), {"mode": "trilinear", "scale_factor": 2}),
    ],
)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("block", [1, 3, 64])
def test_matrices_of_weights_do_what_taps_do(monkeypatch, shape, options, last, block):
    x = torch.randn(shape, dtype=torch.float64)
    if last and x.dim() > 3:
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    products = []
    monkeypatch.setattr(MODULE, "BLOCK", block)
    MODULE._blocks.cache_clear()
    monkeypatch.setattr(FORM, "fast", _counted(FORM.fast, products))
    by_matrices = value_and_gradient(x, **options)
    assert any(isinstance(product, torch.Tensor) for product in products)
    monkeypatch.setattr(FORM, "fast", lambda *_: NotImplemented)
    torch.testing.assert_close(by_matrices, value_and_gradient(x, **options))
    MODULE._blocks.cache_clear()


def _counted(function, results):
    def call(*arguments):
        results.append(function(*arguments))
        return results[-1]

    return call


@pytest.mark.parametrize("odd", [float("inf"), float("nan")])
def test_what_is_not_finite_stays_among_its_readers(monkeypatch, odd):
    x = torch.randn(1, 1, 6, 6)
    x[0, 0, 1, 2] = odd
    y, _ = value_and_gradient(x, mode="bilinear", scale_factor=2)
    monkeypatch.setattr(FORM, "fast", lambda *_: NotImplemented)
    expected, _ = value_and_gradient(x, mode="bilinear", scale_factor=2)
    torch.testing.assert_close(y, expected, equal_nan=True)
    assert y.isfinite().any()
