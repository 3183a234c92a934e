"""Winograd's algorithm against im2col, in chunks of all sizes and both memory formats, and its fallbacks."""

from __future__ import annotations

import pytest
import torch

from scratchnet.convolution.algorithms import dispatch
from scratchnet.convolution.algorithms.winograd import chunks
from scratchnet.convolution.algorithms.winograd import filtering as winograd
from scratchnet.convolution.algorithms.winograd.filtering import Outputs
from scratchnet.convolution.algorithms.winograd.pixels import Pixels
from scratchnet.functional import conv2d
from scratchnet.layout import is_channels_last
from scratchnet.testing.tolerances import Case, agreement
from scratchnet.windows import Geometry

# batch, channels, outputs, size, padding
CASES = [
    (3, 4, 5, (7, 8), ((1, 1), (1, 1))),
    (2, 3, 4, (6, 5), ((0, 0), (0, 0))),
    (2, 3, 4, (6, 6), ((2, 0), (1, 2))),
    (1, 2, 2, (3, 3), ((0, 0), (0, 0))),
    (5, 2, 3, (9, 10), ((2, 2), (0, 1))),
    (3, 2, 3, (6, 8), ((1, 1), (1, 1))),
    (0, 2, 3, (4, 4), ((0, 0), (1, 1))),
]


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("case", CASES, ids=lambda c: "x".join(map(str, c[3])))
@pytest.mark.parametrize("chunk", [1, 13000, 40000, 1 << 22], ids=["a row", "a few rows", "a few images", "all"])
@pytest.mark.parametrize(
    "layout", [torch.Tensor.contiguous, channels_last], ids=["channels first", "channels last"]
)
@pytest.mark.parametrize("threads", [1, 2])
def test_winograd_equals_im2col(monkeypatch, case, chunk, layout, threads):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", chunk)
    batch, channels, out, size, padding = case
    geometry = Geometry((3, 3), (1, 1), padding, (1, 1))
    outputs = geometry.outputs(size)
    generator = torch.Generator().manual_seed(0)
    shapes = (batch, channels, *size), (out, channels, 3, 3), (batch, out, *outputs), (out,), (channels,)
    x, w, y, of_out, of_in = (torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)
    x, y, in_layout = layout(x), layout(y), layout is channels_last
    for bias_out, bias_in in ((of_out, of_in), (None, None)):
        with torch.no_grad():
            got = [
                winograd.convolve(Pixels(x, padding), w, bias_out, outputs, in_layout),
                winograd.backward_input(Outputs(y), w, bias_in, padding, size, in_layout),
                winograd.correlate(Outputs(y), Pixels(x, padding), x),
            ]
        expected = [
            dispatch.convolve(x, w, bias_out, geometry, 1, outputs),
            dispatch.backward_input(y, w, bias_in, geometry, 1, size),
            dispatch.correlate(y, x, geometry, 1),
        ]
        for one, other in zip(got, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
        assert all(is_channels_last(t) == in_layout for t in got[:2] if t.numel())


def large(dtype=torch.float32):
    """Returns arguments large enough for Winograd's algorithm."""
    generator = torch.Generator().manual_seed(0)
    shapes = (16, 32, 15, 14), (48, 32, 3, 3), (48,)
    x, w, b = (torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in shapes)
    assert winograd.worthwhile(x, 32, 48, Geometry((3, 3), (1, 1), ((1, 1),) * 2, (1, 1)), 1)
    return [x.requires_grad_(), w.requires_grad_(), b.requires_grad_()]


def results(convolution, inputs):
    y = convolution(*inputs, padding=1)
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return [y.detach(), *torch.autograd.grad(y, inputs, upstream.to(y.dtype))]


def test_rounding_errors_are_as_small_as_the_builtin_s():
    truth = results(torch.nn.functional.conv2d, [t.detach().double().requires_grad_() for t in large()])
    ours, builtin = results(conv2d, large()), results(torch.nn.functional.conv2d, large())
    for got, expected, exact in zip(ours, builtin, truth, strict=True):
        assert all(one.close for one in agreement([Case(got, expected, exact)]))


@pytest.mark.parametrize("value", [float("inf"), float("nan"), torch.finfo(torch.float64).max])
@pytest.mark.parametrize(
    "changed", [(0, 1, 2, 3, 4), (0, 1, 2, 3, 0), (0, 1, 2, -1, -1), (1, 3, 5, 0, 0), (1, 3, 5, 1, 2)]
)
def test_non_finite_values_do_not_spread(changed, value):
    inputs = large(torch.float64)
    operand, *index = changed
    with torch.no_grad():
        inputs[1][0, 2] = 1
        inputs[operand][tuple(index)] = value
    pairs = zip(results(conv2d, inputs), results(torch.nn.functional.conv2d, inputs), strict=True)
    for i, (got, expected) in enumerate(pairs):
        inner = [slice(None)] * got.dim()
        if i == 0 and operand == 1:  # the built-in's float64 kernel multiplies the padding, ours does not
            assert not got.isnan().any() or value != value
            inner[2:] = [slice(1, -1)] * 2
        torch.testing.assert_close(got[tuple(inner)], expected[tuple(inner)], equal_nan=True)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_non_finite_values_do_not_spread_if_one_gradient_is_needed(value):
    x, w, b = large(torch.float64)
    y = conv2d(x, w, b, padding=1)
    upstream = torch.ones_like(y)
    upstream[1, 2, 3, 4] = value
    expected = torch.autograd.grad(torch.nn.functional.conv2d(x, w, b, padding=1), (x, w), upstream)
    for i, one in enumerate((x, w)):
        (got,) = torch.autograd.grad(y, one, upstream, retain_graph=True)
        torch.testing.assert_close(got, expected[i], equal_nan=True)


def test_few_channels_strides_and_groups_are_not_worthwhile():
    x = torch.empty(8, 32, 64, 64)
    plain = Geometry((3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    assert winograd.worthwhile(x, 32, 32, plain, 1)
    assert not winograd.worthwhile(x, 32, 4, plain, 1)
    assert not winograd.worthwhile(x, 32, 32, plain, 2)
    assert not winograd.worthwhile(x[:1, :, :2, :2], 32, 32, plain, 1)
    for other in ({"kernel": (3, 5)}, {"stride": (2, 1)}, {"dilation": (1, 2)}, {"padding": ((3, 0), (0, 0))}):
        assert not winograd.worthwhile(x, 32, 32, plain._replace(**other), 1)


def test_scratch_memory_serves_inference_and_training(monkeypatch):
    monkeypatch.setattr(chunks, "_memory", chunks._Memory())
    x, *rest = large(torch.float64)
    with torch.inference_mode():
        first = conv2d(x, *rest, padding=1)
    torch.testing.assert_close(first, results(conv2d, [x, *rest])[0])
    for smaller in (x.detach()[..., :14, :13], x.detach()[..., 1:, :13]):  # with other margins
        torch.testing.assert_close(
            conv2d(smaller, *rest, padding=1), torch.nn.functional.conv2d(smaller, *rest, padding=1)
        )


def test_meta_tensors_keep_their_shape():
    x, w, b = (t.detach().to("meta") for t in large())
    assert conv2d(x, w, b, padding=1).shape == (16, 48, 15, 14)
