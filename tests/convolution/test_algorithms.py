"""The algorithms of convolution against im2col, and its products against the number they are gradients of."""

from __future__ import annotations

import itertools

import pytest
import torch

from scratchnet import functional
from scratchnet.convolution.algorithms import (
    depthwise,
    dispatch,
    gathered_gemm,
    pointwise,
    shifted_gemm,
    toeplitz,
    toeplitz_rows,
)
from scratchnet.windows import Geometry

# batch, groups, channels and outputs of a group, size, kernel, stride, padding, dilation
CASES = [
    (1, 1, 1, 1, (5,), (1,), (1,), ((0, 0),), (1,)),
    (3, 1, 2, 3, (7,), (3,), (2,), ((1, 2),), (1,)),
    (2, 1, 2, 3, (5,), (2,), (2,), ((2, 2),), (2,)),  # a phase as long as the image, and another one
    (5, 1, 9, 4, (5, 4), (3, 2), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    (3, 2, 3, 2, (6, 5), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    (3, 1, 40, 2, (5, 6), (2, 3), (1, 1), ((1, 0), (1, 1)), (2, 1)),
    (2, 1, 2, 3, (7, 8), (3, 3), (2, 3), ((1, 1), (2, 2)), (1, 2)),
    (2, 3, 1, 1, (4, 4), (1, 1), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    (4, 3, 1, 1, (4, 5), (3, 2), (1, 2), ((1, 1), (2, 1)), (1, 1)),
    (4, 1, 3, 2, (4, 4), (2, 2), (3, 1), ((2, 2), (0, 3)), (3, 2)),
    (2, 2, 2, 2, (3, 4, 5), (2, 3, 2), (1, 2, 1), ((1, 1), (0, 1), (0, 0)), (1, 1, 2)),
    (2, 1, 3, 3, (3, 3, 3), (1, 1, 1), (1, 1, 1), ((0, 0), (0, 0), (0, 0)), (1, 1, 1)),
]


def named(case):
    return "x".join(map(str, case[4])) + f"-{case[5]}-{case[6]}"


each_case = pytest.mark.parametrize("case", CASES, ids=named)


def draw(case):
    batch, groups, channels, out, size, *options = case
    geometry = Geometry(*options)
    outputs = geometry.outputs(size)
    generator = torch.Generator().manual_seed(0)
    shapes = (
        (batch, groups * channels, *size),
        (groups * out, channels, *geometry.kernel),
        (batch, groups * out, *outputs),
        (groups * out,),
        (groups * channels,),
    )
    tensors = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return geometry, groups, size, outputs, tensors


CONVOLVE = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}


@each_case
@pytest.mark.parametrize("corner", [0, -1])
@pytest.mark.parametrize("changed", ["image", "kernel", "upstream"])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_non_finite_edges_match_pytorch_without_padding(case, corner, changed, value):
    """Only outputs and gradients that use the changed element change, and they become what PyTorch returns."""
    geometry, groups, size, outputs, (x, w, y, of_out, of_in) = draw(case)

    def reference(x, w, y):
        wide = torch.nn.functional.pad(x, [n for pair in reversed(geometry.padding) for n in pair])
        wide, w = wide.requires_grad_(), w.clone().requires_grad_()
        out = CONVOLVE[len(size)](wide, w, None, geometry.stride, 0, geometry.dilation, groups)
        grad_wide, grad_w = torch.autograd.grad(out, (wide, w), y)
        inside = (slice(before, before + n) for (before, _), n in zip(geometry.padding, size, strict=True))
        return out.detach(), grad_wide[(..., *inside)], grad_w

    tensors = {"image": x, "kernel": w, "upstream": y}
    tensors[changed].flatten()[corner] = 0
    without = reference(x, w, y)
    one_hot = torch.zeros_like(tensors[changed])
    one_hot.flatten()[corner] = 1
    ones = {name: one_hot if name == changed else torch.ones_like(t) for name, t in tensors.items()}
    uses = reference(*ones.values())
    tensors[changed].flatten()[corner] = value
    out, grad_x, grad_w = (
        torch.where(used > 0, a, b) for used, a, b in zip(uses, reference(x, w, y), without, strict=True)
    )
    expected = (
        out + of_out.view(-1, *[1] * len(size)),
        grad_x + of_in.view(-1, *[1] * len(size)),
        grad_w,
        grad_x,
        grad_w,
    )
    with torch.no_grad():
        got = [
            dispatch.convolve(x, w, of_out, geometry, groups, outputs),
            dispatch.backward_input(y, w, of_in, geometry, groups, size),
            dispatch.correlate(y, x, geometry, groups),
        ]
        both = dispatch.gradients(y, x, w, (True, True), geometry, groups)
    for one, other in zip((*got, *both), expected, strict=True):
        torch.testing.assert_close(one, other, equal_nan=True)


@each_case
@pytest.mark.parametrize("cache", [1, 1000, 4000, 1 << 21], ids=["one position", "a row", "a few", "all"])
def test_shifted_gemm_equals_im2col(monkeypatch, case, cache):
    monkeypatch.setattr(shifted_gemm, "CACHE_BYTES", cache)
    geometry, groups, size, outputs, (x, w, y, of_out, of_in) = draw(case)
    for bias_out, bias_in in ((of_out, of_in), (None, None)):
        calls = {
            "convolve": (x, w, bias_out, geometry, groups, outputs),
            "backward_input": (y, w, bias_in, geometry, groups, size),
            "correlate": (y, x, geometry, groups),
        }
        for name, arguments in calls.items():
            plain = getattr(dispatch, name)(*arguments)
            with torch.no_grad():
                torch.testing.assert_close(getattr(shifted_gemm, name)(*arguments), plain, rtol=1e-12, atol=1e-12)
                if name == "convolve":
                    rows = shifted_gemm.convolve(*arguments, channels_last=True)
                    torch.testing.assert_close(rows, plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "case", [c for c in CASES if c[1] == 1], ids=lambda c: "x".join(map(str, c[4])) + f"-{c[5]}"
)
@pytest.mark.parametrize("tile", [1, 5000, 1 << 22], ids=["a row", "some rows or images", "all"])
@pytest.mark.parametrize("own", [True, False], ids=["own order", "channels last"])
@pytest.mark.parametrize("scattering", [0, 3, 1000], ids=["one way", "by channels", "the other way"])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("pixels", [1, 1000], ids=["by image", "by tile"])
def test_gathered_gemm_equals_im2col(monkeypatch, case, tile, own, scattering, channels_last, pixels):
    monkeypatch.setattr(gathered_gemm, "LEAST_PIXELS", pixels)
    monkeypatch.setattr(gathered_gemm, "TILE_BYTES", tile)
    monkeypatch.setattr(gathered_gemm, "SCATTERING", scattering)
    monkeypatch.setattr(gathered_gemm, "_in_own_order", lambda *_: own)
    geometry, groups, size, outputs, (x, w, y, of_out, of_in) = draw(case)
    for bias_out, bias_in in ((of_out, of_in), (None, None)):
        expected = (
            dispatch.convolve(x.requires_grad_(), w, bias_out, geometry, groups, outputs),
            dispatch.backward_input(y.requires_grad_(), w, bias_in, geometry, groups, size),
            dispatch.correlate(y, x, geometry, groups),
        )
        both = dispatch.gradients(y, x, w, (True, True), geometry, groups)
        with torch.no_grad():
            got = (
                gathered_gemm.convolve(x, w, bias_out, geometry, outputs, channels_last),
                gathered_gemm.backward_input(y, w, bias_in, geometry, size, channels_last),
                gathered_gemm.correlate(y, x, geometry),
            )
            both_at_once = gathered_gemm.gradients(y, x, w, geometry, channels_last)
        for one, other in zip((*got, *both_at_once), (*expected, *both), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [(5,), (2, 3), (8, 9), (4, 4, 4), (5, 5, 5)])  # the last: a sum in parts
@pytest.mark.parametrize("channels_last", [False, True])
def test_pointwise_equals_im2col(size, channels_last):
    dims = len(size)
    case = (3, 1, 4, 5, size, (1,) * dims, (1,) * dims, ((0, 0),) * dims, (1,) * dims)
    geometry, groups, _, _, (x, w, y, of_out, of_in) = draw(case)
    assert pointwise.applies(geometry, groups, size, size)
    for bias_out, bias_in in ((of_out, of_in), (None, None)):
        expected = (
            dispatch.convolve(x.requires_grad_(), w, bias_out, geometry, groups, size),
            dispatch.backward_input(y.requires_grad_(), w, bias_in, geometry, groups, size),
            dispatch.correlate(y, x, geometry, groups),
        )
        with torch.no_grad():
            got = (
                pointwise.convolve(x, w, bias_out, channels_last),
                pointwise.backward_input(y, w, bias_in, channels_last),
                pointwise.correlate(y, x),
            )
        for one, other in zip(got, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_gradient_of_a_pointwise_weight_is_as_accurate_as_pytorch():
    generator = torch.Generator().manual_seed(0)
    x, w, y = (
        torch.randn(size, generator=generator) for size in [(16, 640, 4, 4), (128, 640, 1, 1), (16, 128, 4, 4)]
    )
    exact = pointwise.correlate(y.double(), x.double())
    w.requires_grad_()
    (builtin,) = torch.autograd.grad(torch.conv2d(x, w), w, y)
    ours, theirs = ((grad - exact).abs().max() for grad in (pointwise.correlate(y, x), builtin))
    assert ours <= 2 * theirs + torch.finfo(torch.float32).eps * exact.abs().max()


@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dims", [1, 2])
def test_output_padding_of_any_kernel(dims, groups, kernel):
    name = f"conv_transpose{dims}d"
    for stride, dilation in itertools.product((1, 2), (1, 2, 3)):
        for extra in range(max(stride, dilation)):
            options = {"stride": stride, "dilation": dilation, "output_padding": extra, "groups": groups}
            x = torch.randn(2, 4, *(5, 6)[:dims], dtype=torch.float64, requires_grad=True)
            w = torch.randn(4, 4 // groups, *(kernel,) * dims, dtype=torch.float64, requires_grad=True)
            results = []
            for module in (torch.nn.functional, functional):
                y = getattr(module, name)(x, w, **options)
                results.append((y, *torch.autograd.grad((y * y).sum(), (x, w))))
            for ours, theirs in zip(*results, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@each_case
def test_products_are_gradients_of_one_number(case):
    geometry, groups, size, outputs, (x, w, y, *_) = draw(case)
    with torch.no_grad():
        number = (y * dispatch.convolve(x, w, None, geometry, groups, outputs)).sum()
        for gradient, at in (
            (dispatch.backward_input(y, w, None, geometry, groups, size), x),
            (dispatch.correlate(y, x, geometry, groups), w),
        ):
            torch.testing.assert_close((gradient * at).sum(), number, rtol=1e-12, atol=1e-12)


@each_case
def test_shifted_gemm_accepts_channels_last(case):
    geometry, groups, size, outputs, (x, w, y, *_) = draw(case)
    channels_last = [t.movedim(1, -1).contiguous().movedim(-1, 1) for t in (x, w, y)]
    with torch.no_grad():
        for name, op in {
            "convolve": lambda x, w, y: shifted_gemm.convolve(x, w, None, geometry, groups, outputs),
            "convolve, channels last": lambda x, w, y: shifted_gemm.convolve(
                x, w, None, geometry, groups, outputs, True
            ),
            "backward_input": lambda x, w, y: shifted_gemm.backward_input(y, w, None, geometry, groups, size),
            "correlate": lambda x, w, y: shifted_gemm.correlate(y, x, geometry, groups),
        }.items():
            torch.testing.assert_close(
                op(*channels_last), op(x, w, y), msg=lambda text, name=name: f"{name}: {text}"
            )


@each_case
@pytest.mark.parametrize("channels_last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("tile", [1, 1 << 21], ids=["small tiles", "one tile"])
@pytest.mark.parametrize("way", ["shifted views", "a matrix per image", "matrices per row"])
def test_depthwise_equals_im2col(monkeypatch, case, channels_last, tile, way):
    monkeypatch.setattr(depthwise, "TILE_BYTES", tile)
    monkeypatch.setattr(toeplitz, "LEAST_TILE", tile)
    monkeypatch.setattr(toeplitz_rows, "TILE", tile)
    monkeypatch.setattr(pointwise, "LEAST_TERMS", 2)
    monkeypatch.setattr(toeplitz, "worthwhile", lambda *_: way == "a matrix per image")
    monkeypatch.setattr(toeplitz_rows, "worthwhile", lambda *_: way == "matrices per row" and len(case[4]) > 1)
    batch, _, _, _, *options = case
    geometry, groups, size, outputs, (x, w, y, bias, _) = draw((batch, 4, 1, 1, *options))
    assert depthwise.applies(x.shape[1], y.shape[1], groups)
    x_in_format, y_in_format = (
        t.movedim(1, -1).contiguous().movedim(-1, 1) if channels_last else t for t in (x, y)
    )
    expected = [
        dispatch.convolve(x, w, bias, geometry, groups, outputs),
        dispatch.backward_input(y, w, bias, geometry, groups, size),
        dispatch.correlate(y, x, geometry, groups),
    ]
    with torch.no_grad():
        got = [
            depthwise.convolve(x_in_format, w, bias, geometry, outputs, channels_last),
            depthwise.backward_input(y_in_format, w, bias, geometry, size, channels_last),
            depthwise.correlate(y_in_format, x_in_format, geometry),
        ]
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", [case for case in CASES if len(case[4]) > 1], ids=named)
@pytest.mark.parametrize("channels_last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("tile", [1, 1 << 20], ids=["small tiles", "one tile"])
def test_matrices_of_rows_equal_im2col(monkeypatch, case, channels_last, tile):
    monkeypatch.setattr(toeplitz_rows, "TILE", tile)
    monkeypatch.setattr(pointwise, "LEAST_TERMS", 2)
    geometry, groups, size, outputs, (x, w, y, of_out, of_in) = draw(case)
    x_in_format, y_in_format = (
        t.movedim(1, -1).contiguous().movedim(-1, 1) if channels_last else t for t in (x, y)
    )
    expected = [
        dispatch.convolve(x, w, of_out, geometry, groups, outputs),
        dispatch.backward_input(y, w, of_in, geometry, groups, size),
        dispatch.correlate(y, x, geometry, groups),
    ]
    with torch.no_grad():
        got = [
            toeplitz_rows.convolve(x_in_format, w, of_out, geometry, groups, outputs, channels_last),
            toeplitz_rows.backward_input(y_in_format, w, of_in, geometry, groups, size, channels_last),
            toeplitz_rows.correlate(y_in_format, x_in_format, geometry, groups),
        ]
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dims", [2, 3])
def test_transposed_outputs_may_be_empty(dims, groups):
    # In bfloat16, since the built-in refuses outputs of size 0 in other dtypes without groups.
    convolve = f"conv_transpose{dims}d"
    for padding in itertools.product((0, 1), repeat=dims):
        for size in itertools.product((1, 2), repeat=dims):
            x, weight = torch.ones(2, 2, *size).bfloat16(), torch.ones(2, 2 // groups, *[2] * dims).bfloat16()
            call = x, weight, None, 1, padding, 0, groups
            expected = getattr(torch.nn.functional, convolve)(*call)
            assert torch.equal(getattr(functional, convolve)(*call), expected), (padding, size)


@pytest.mark.parametrize("size", [(3, 4), (9, 40)])
def test_depthwise_outputs_may_be_empty(size):
    x, weight = torch.ones(2, 2, *size), torch.ones(2, 1, 2, 4)
    options = {"padding": (size[0] + 1) // 2, "dilation": (1, 3), "groups": 2}
    builtin = torch.nn.functional.conv_transpose2d(x, weight, **options)
    assert builtin.numel() == 0
    assert functional.conv_transpose2d(x, weight, **options).shape == builtin.shape
