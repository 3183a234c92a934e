"""Max pooling in tiles against PyTorch's, in both memory formats, with ties, NaN and infinities."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from scratchnet.functional import max_pool2d
from scratchnet.pooling import in_place

OPTIONS = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2},
    {"kernel_size": 2, "stride": 3},
    {"kernel_size": (1, 3)},
    {"kernel_size": (17, 16)},
    {"kernel_size": 2, "stride": (2, 4), "dilation": (1, 3)},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 2, "ceil_mode": True},
]


def pooled(pool, x, upstream, options):
    x = x.detach().requires_grad_()
    y, indices = pool(x, return_indices=True, **options)
    (grad,) = torch.autograd.grad(y, x, upstream(y))
    return y.detach(), indices, grad


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(map(str, o.values())))
@pytest.mark.parametrize("channels_last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("tile", [1, 2**19])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_values_indices_and_gradients(monkeypatch, options, channels_last, tile, dtype):
    monkeypatch.setattr(in_place, "TILE", tile)
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-3, 3, (3, 5, 18, 17), generator=generator).to(dtype)  # with ties
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x

    def upstream(y):
        grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
        grad[0, 0, 0, 0] = float("inf")
        return grad if channels_last else grad.mT.contiguous().mT

    got, expected = (pooled(f, x, upstream, options) for f in (max_pool2d, F.max_pool2d))
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert got[0].stride() == expected[0].stride()
    if not options.get("padding") and not options.get("ceil_mode") and options.get("stride") != 2:
        assert got[2].stride() == expected[2].stride()


def test_nan_is_the_maximum():
    x = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    x[0, 0, 1, 1] = float("nan")
    got, expected = (pooled(f, x, torch.ones_like, {"kernel_size": 2}) for f in (max_pool2d, F.max_pool2d))
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, equal_nan=True)
