"""Fused convolution, ReLU and max pooling against the three ops in turn."""

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


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last)


@pytest.fixture
def only_winograd(monkeypatch):
    """Forces Winograd's algorithm at all sizes, and fails if an op of the composition runs."""

    def refuse(*args):
        raise AssertionError("the ops ran in turn")

    monkeypatch.setattr(filtering, "LEAST_CHANNELS", 1)
    monkeypatch.setattr(filtering, "LEAST_PIXELS", 0)
    monkeypatch.setattr(filtering, "LEAST_ELEMENTS", 0)
    monkeypatch.setattr(filtering, "MOST_RATIO", 9)
    for unfused in ("max_and_argmax", "scatter_to_argmax"):
        monkeypatch.setattr(pooled_convolution, unfused, refuse)


def results(op, tensors, upstream, **options):
    inputs = [t.detach().requires_grad_() for t in tensors]
    y = op(*inputs, **options)
    return [y.detach(), *torch.autograd.grad(y, inputs, upstream)]


def builtin(x, w, b, **options):
    return F.max_pool2d(F.relu(F.conv2d(x, w, b, **options)), 2)


def in_turn(x, w, b, **options):
    return max_pool2d(relu(conv2d(x, w, b, **options)), 2)


@pytest.mark.usefixtures("only_winograd")
@pytest.mark.parametrize("case", CASES, ids=lambda c: "x".join(map(str, c[3])))
@pytest.mark.parametrize("chunk", [1, 8000, 40000, 1 << 22], ids=["a row", "a few rows", "a few images", "all"])
@pytest.mark.parametrize(
    "layout", [torch.Tensor.contiguous, channels_last], ids=["channels first", "channels last"]
)
@pytest.mark.parametrize("threads", [1, 2])
def test_fused_equals_the_ops_in_turn(monkeypatch, case, chunk, layout, threads):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", chunk)
    batch, channels, out, size, padding = case
    generator = torch.Generator().manual_seed(0)
    shapes = (batch, channels, *size), (out, channels, 3, 3), (out,)
    x, w, b = (torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)
    x = layout(x)
    upstream = torch.randn(builtin(x, w, b, padding=padding).shape, generator=generator, dtype=torch.float64)
    got = results(conv2d_relu_max_pool2d, (x, w, b), layout(upstream), padding=padding)
    expected = results(builtin, (x, w, b), upstream, padding=padding)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    if batch > 1:
        assert all(is_channels_last(t) == (layout is channels_last) for t in got[:2])


@pytest.mark.usefixtures("only_winograd")
@pytest.mark.parametrize("transpose", [lambda x: x, lambda x: x.mT.contiguous()], ids=["rows", "columns"])
def test_argmax_is_the_first_of_ties_and_zeros_pass_no_gradient(transpose):
    w, b = torch.ones(1, 1, 3, 3, dtype=torch.float64), torch.tensor([-9.0], dtype=torch.float64)
    x = torch.ones(1, 1, 6, 6, dtype=torch.float64)
    x[..., 4:] = 2
    upstream = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    got = results(conv2d_relu_max_pool2d, (transpose(x), w, b), upstream)
    expected = results(builtin, (transpose(x), w, b), upstream)
    assert 0 < (expected[0] == 0).sum() < 4
    assert all(map(torch.equal, got, expected))


def large(dtype=torch.float32):
    """Returns arguments large enough for Winograd's algorithm."""
    generator = torch.Generator().manual_seed(0)
    shapes = (16, 32, 15, 14), (48, 32, 3, 3), (48,)
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in shapes]


@pytest.mark.parametrize("at", [0, 1, 2], ids=["image", "weight", "bias"])
@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan"), torch.finfo(torch.float64).max])
def test_non_finite_inputs_give_the_results_of_the_ops_in_turn(at, value):
    tensors = large(torch.float64)
    tensors[at].view(-1)[5] = value
    upstream = torch.randn(16, 48, 7, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    got = results(conv2d_relu_max_pool2d, tensors, upstream, padding=1)
    for one, other in zip(got, results(in_turn, tensors, upstream, padding=1), strict=True):
        torch.testing.assert_close(one, other, equal_nan=True)


def test_a_non_finite_upstream_gives_the_gradients_of_the_ops_in_turn():
    upstream = torch.randn(16, 48, 7, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    upstream[0, 0, 0, 0] = float("inf")
    got = results(conv2d_relu_max_pool2d, large(torch.float64), upstream, padding=1)
    for one, other in zip(got, results(in_turn, large(torch.float64), upstream, padding=1), strict=True):
        torch.testing.assert_close(one, other, equal_nan=True)


@pytest.mark.parametrize("needed", [(0,), (1,), (2,), (0, 2)])
def test_only_needed_gradients_are_computed(needed):
    upstream = torch.randn(16, 48, 7, 7, generator=torch.Generator().manual_seed(1))
    expected = results(conv2d_relu_max_pool2d, large(), upstream, padding=1)
    inputs = [t.requires_grad_(i in needed) for i, t in enumerate(large())]
    conv2d_relu_max_pool2d(*inputs, padding=1).backward(upstream)
    for i, t in enumerate(inputs):
        assert torch.equal(t.grad, expected[1 + i]) if i in needed else t.grad is None


def test_saves_two_bytes_per_output_and_not_the_convolution():
    x, w, b = (t.requires_grad_() for t in large())
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        y = conv2d_relu_max_pool2d(x, w, b, padding=1)
    inputs_and_outputs = {t.data_ptr() for t in (x, w, y)}
    # The argmax, and whether the output is positive.
    assert sum(t.nbytes for t in saved if t.data_ptr() not in inputs_and_outputs) == 2 * y.numel()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_rounds_after_each_op(dtype):
    upstream = torch.randn(16, 48, 7, 7, generator=torch.Generator().manual_seed(1)).to(dtype)
    got = results(conv2d_relu_max_pool2d, large(dtype), upstream, padding=1)
    assert all(map(torch.equal, got, results(in_turn, large(dtype), upstream, padding=1)))


def test_autocast_gives_the_results_of_the_ops_in_turn():
    upstream = torch.randn(16, 48, 7, 7, generator=torch.Generator().manual_seed(1)).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = results(conv2d_relu_max_pool2d, large(), upstream, padding=1)
        expected = results(in_turn, large(), upstream, padding=1)
    assert got[0].dtype is torch.bfloat16
    assert all(map(torch.equal, got, expected))


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_conv2d_relu_propagates_non_finite_values(value):
    tensors = large()
    tensors[0].view(-1)[5] = value
    upstream = torch.randn(16, 48, 15, 14, generator=torch.Generator().manual_seed(1))
    got = results(conv2d_relu, tensors, upstream, padding=1)
    expected = results(lambda *t, **options: relu(conv2d(*t, **options)), tensors, upstream, padding=1)
    for one, other in zip(got, expected, strict=True):
        assert torch.equal(one.nan_to_num(), other.nan_to_num())
        assert torch.equal(one.isnan(), other.isnan())


@pytest.mark.parametrize("op", [conv2d_relu, conv2d_relu_max_pool2d])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("size", [8, 40], ids=["shifted GEMM", "Winograd"])
@pytest.mark.parametrize("channels_last_argument", ["neither", "images", "weight"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last, torch.preserve_format])
def test_memory_format(op, dtype, size, channels_last_argument, memory_format):
    x, w = torch.randn(2, 16, size, size), torch.randn(16, 16, 3, 3)
    x, w = (
        channels_last(t.to(dtype)) if name == channels_last_argument else t.to(dtype)
        for name, t in (("images", x), ("weight", w))
    )
    w.requires_grad_()
    y = op(x, w, memory_format=memory_format)
    expected = memory_format
    if memory_format == torch.preserve_format:
        expected = torch.contiguous_format if channels_last_argument == "neither" else torch.channels_last
    assert y.is_contiguous(memory_format=expected)
    torch.testing.assert_close(y, op(x, w))
    recorded = torch.func.vmap(lambda one: op(one, w, memory_format=memory_format))(x.unsqueeze(1))
    torch.testing.assert_close(recorded[:, 0], y)


@pytest.mark.parametrize("op", [conv2d_relu, conv2d_relu_max_pool2d])
def test_a_memory_format_of_volumes_is_an_error(op):
    with pytest.raises(
        RuntimeError, match=f"{op.__name__}: expected memory_format to be .*, got torch.channels_last_3d"
    ):
        op(torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3), memory_format=torch.channels_last_3d)
