"""Convolution, rectifier and pooling in Winograd's tiles: against the three ops one by one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from scratchnet.convolution.algorithms.winograd import chunks, filtering
from scratchnet.functional import conv2d, conv2d_relu, conv2d_relu_max_pool2d, max_pool2d, relu
from scratchnet.fused import pooled_convolution
from scratchnet.layout import is_channels_last

# batch, channels, outputs, size, padding
CASES = [
    (3, 4, 5, (8, 10), 0),
    (2, 3, 4, (7, 8), 1),
    (2, 3, 4, (6, 5), (2, 1)),
    (5, 2, 3, (9, 12), (1, 2)),
    (1, 2, 2, (4, 4), 0),
    (2, 3, 4, (7, 9), 0),
    (0, 2, 3, (4, 4), 1),
]


def last(x):
    return x.contiguous(memory_format=torch.channels_last)


@pytest.fixture
def in_tiles(monkeypatch):
    """Has all sizes made in tiles, and nothing by the ops one by one."""

    def refuse(*args):
        raise AssertionError("not made in tiles")

    monkeypatch.setattr(filtering, "LEAST_CHANNELS", 1)
    monkeypatch.setattr(filtering, "LEAST_PRODUCTS", 0)
    for plain in ("max_and_argmax", "scatter_to_argmax"):
        monkeypatch.setattr(pooled_convolution, plain, refuse)


def made(op, tensors, upstream, **options):
    inputs = [t.detach().requires_grad_() for t in tensors]
    y = op(*inputs, **options)
    return [y.detach(), *torch.autograd.grad(y, inputs, upstream)]


def builtin(x, w, b, **options):
    return F.max_pool2d(F.relu(F.conv2d(x, w, b, **options)), 2)


def one_by_one(x, w, b, **options):
    return max_pool2d(relu(conv2d(x, w, b, **options)), 2)


@pytest.mark.usefixtures("in_tiles")
@pytest.mark.parametrize("case", CASES, ids=lambda c: "x".join(map(str, c[3])))
@pytest.mark.parametrize("block", [1, 8000, 40000, 1 << 22], ids=["a row", "a few rows", "a few images", "all"])
@pytest.mark.parametrize("layout", [torch.Tensor.contiguous, last], ids=["channels first", "channels last"])
@pytest.mark.parametrize("threads", [1, 2])
def test_tiles_make_what_the_ops_make_one_by_one(monkeypatch, case, block, layout, threads):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", block)
    batch, channels, out, size, padding = case
    generator = torch.Generator().manual_seed(0)
    shapes = (batch, channels, *size), (out, channels, 3, 3), (out,)
    x, w, b = (torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)
    x = layout(x)
    upstream = torch.randn(builtin(x, w, b, padding=padding).shape, generator=generator, dtype=torch.float64)
    got = made(conv2d_relu_max_pool2d, (x, w, b), layout(upstream), padding=padding)
    expected = made(builtin, (x, w, b), upstream, padding=padding)
    for fast, slow in zip(got, expected, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-12)
    if batch > 1:
        assert all(is_channels_last(t) == (layout is last) for t in got[:2])


@pytest.mark.usefixtures("in_tiles")
@pytest.mark.parametrize("turn", [lambda x: x, lambda x: x.mT.contiguous()], ids=["rows", "columns"])
def test_the_first_of_equal_outputs_wins_and_none_where_nothing_is_positive(turn):
    w, b = torch.ones(1, 1, 3, 3, dtype=torch.float64), torch.tensor([-9.0], dtype=torch.float64)
    x = torch.ones(1, 1, 6, 6, dtype=torch.float64)
    x[..., 4:] = 2
    upstream = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    got = made(conv2d_relu_max_pool2d, (turn(x), w, b), upstream)
    expected = made(builtin, (turn(x), w, b), upstream)
    assert 0 < (expected[0] == 0).sum() < 4
    assert all(map(torch.equal, got, expected))


def large(dtype=torch.float32):
    """A call that is large enough for tiles."""
    generator = torch.Generator().manual_seed(0)
    shapes = (4, 32, 15, 14), (48, 32, 3, 3), (48,)
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in shapes]


@pytest.mark.parametrize("at", [0, 1, 2], ids=["image", "weight", "bias"])
@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan"), torch.finfo(torch.float64).max])
def test_what_is_not_finite_comes_out_as_one_by_one(at, value):
    tensors = large(torch.float64)
    tensors[at].view(-1)[5] = value
    upstream = torch.randn(4, 48, 7, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    got = made(conv2d_relu_max_pool2d, tensors, upstream, padding=1)
    for one, other in zip(got, made(one_by_one, tensors, upstream, padding=1), strict=True):
        torch.testing.assert_close(one, other, equal_nan=True)


def test_an_upstream_that_is_not_finite_comes_back_as_one_by_one():
    upstream = torch.randn(4, 48, 7, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    upstream[0, 0, 0, 0] = float("inf")
    got = made(conv2d_relu_max_pool2d, large(torch.float64), upstream, padding=1)
    for one, other in zip(got, made(one_by_one, large(torch.float64), upstream, padding=1), strict=True):
        torch.testing.assert_close(one, other, equal_nan=True)


@pytest.mark.parametrize("needed", [(0,), (1,), (2,), (0, 2)])
def test_gradients_are_made_of_what_needs_one(needed):
    upstream = torch.randn(4, 48, 7, 7, generator=torch.Generator().manual_seed(1))
    everything = made(conv2d_relu_max_pool2d, large(), upstream, padding=1)
    inputs = [t.requires_grad_(i in needed) for i, t in enumerate(large())]
    conv2d_relu_max_pool2d(*inputs, padding=1).backward(upstream)
    for i, t in enumerate(inputs):
        assert torch.equal(t.grad, everything[1 + i]) if i in needed else t.grad is None


def test_the_convolutions_outputs_are_not_kept():
    x, w, b = (t.requires_grad_() for t in large())
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = conv2d_relu_max_pool2d(x, w, b, padding=1)
    mine = {t.data_ptr() for t in (x, w, y)}
    # A byte each: the argmax, and whether it is positive.
    assert (
        sum(t.nbytes for t in kept if t.data_ptr() not in mine) == 2 * y.numel()
    )  # a byte each: the argmax, and whether it is positive


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_dtypes_are_rounded_after_each_op(dtype):
    upstream = torch.randn(4, 48, 7, 7, generator=torch.Generator().manual_seed(1)).to(dtype)
    got = made(conv2d_relu_max_pool2d, large(dtype), upstream, padding=1)
    assert all(map(torch.equal, got, made(one_by_one, large(dtype), upstream, padding=1)))


def test_autocast_is_that_of_the_ops():
    upstream = torch.randn(4, 48, 7, 7, generator=torch.Generator().manual_seed(1)).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = made(conv2d_relu_max_pool2d, large(), upstream, padding=1)
        expected = made(one_by_one, large(), upstream, padding=1)
    assert got[0].dtype is torch.bfloat16
    assert all(map(torch.equal, got, expected))


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_rectified_convolution_passes_on_what_is_not_finite(value):
    tensors = large()
    tensors[0].view(-1)[5] = value
    upstream = torch.randn(4, 48, 15, 14, generator=torch.Generator().manual_seed(1))
    got = made(conv2d_relu, tensors, upstream, padding=1)
    expected = made(lambda *t, **options: relu(conv2d(*t, **options)), tensors, upstream, padding=1)
    for one, other in zip(got, expected, strict=True):
        assert torch.equal(one.nan_to_num(), other.nan_to_num())
        assert torch.equal(one.isnan(), other.isnan())


@pytest.mark.parametrize("op", [conv2d_relu, conv2d_relu_max_pool2d])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("size", [8, 40], ids=["by lines", "by tiles"])
@pytest.mark.parametrize("lies_last", ["neither", "images", "kernels"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last, torch.preserve_format])
def test_the_output_has_the_memory_format_that_is_asked_for(op, dtype, size, lies_last, memory_format):
    x, w = torch.randn(2, 16, size, size), torch.randn(16, 16, 3, 3)
    x, w = (last(t.to(dtype)) if name == lies_last else t.to(dtype) for name, t in (("images", x), ("kernels", w)))
    w.requires_grad_()
    y = op(x, w, memory_format=memory_format)
    expected = memory_format
    if memory_format == torch.preserve_format:
        expected = torch.contiguous_format if lies_last == "neither" else torch.channels_last
    assert y.is_contiguous(memory_format=expected)
    torch.testing.assert_close(y, op(x, w))
    recorded = torch.func.vmap(lambda one: op(one, w, memory_format=memory_format))(x.unsqueeze(1))
    torch.testing.assert_close(recorded[:, 0], y)


@pytest.mark.parametrize("op", [conv2d_relu, conv2d_relu_max_pool2d])
def test_a_memory_format_that_images_do_not_have_is_refused(op):
    with pytest.raises(
        RuntimeError, match=f"{op.__name__}: expected memory_format to be .*, got torch.channels_last_3d"
    ):
        op(torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3), memory_format=torch.channels_last_3d)
