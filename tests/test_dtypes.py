"""Functional forms on complex numbers, integers and booleans accept, compute and reject as the built-in does."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from reference.catalog import RECORDS, Make
from scratchnet import functional as F
from scratchnet.testing import compare

pytestmark = pytest.mark.filterwarnings("ignore")

# The built-in rounds the average of integers to an integer before taking the root or dividing.
ROUNDED = {"lp_pool1d", "lp_pool2d", "lp_pool3d", "local_response_norm"}
# Ours takes complex tensors, for which the built-in only lacks a kernel.
ONLY_OURS = {"embedding_bag", "interpolate", "prelu", "upsample", "upsample_nearest", "weight_norm"}
COMPOSED = {
    "conv2d_relu",
    "conv2d_relu_max_pool2d",
    "learned_elu",
    "linear_kernel",
    "max_norm_",
    "maxout",
    "swiglu",
}
COMPOSED |= {"polynomial_kernel", "rbf_kernel"}  # compared with compositions, which take any dtype
KINDS = (
    torch.complex128,
    torch.int64,
    *(pytest.param(dtype, marks=pytest.mark.slow) for dtype in (torch.complex64, torch.int32, torch.bool)),
)


def cast(value: Any, dtype: torch.dtype, noise: torch.Generator, grad: bool) -> Any:
    """Casts floating-point tensors, also in tuples and lists, to another dtype."""
    if isinstance(value, tuple | list):
        return type(value)(cast(v, dtype, noise, grad) for v in value)
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.itemsize == 1:  # float8 stays
        return value
    x = value.detach()
    if dtype.is_complex:
        x = torch.complex(x, torch.randn(x.shape, generator=noise, dtype=x.dtype))
        return x.to(dtype).requires_grad_(grad and value.requires_grad)
    return x > 0 if dtype is torch.bool else (3 * x).nan_to_num(0, 5, -5).clamp(-9, 9).to(dtype)


def outcome(op: Any, sample: Any, dtype: torch.dtype, grad: bool) -> Any:
    """Returns outputs and gradients of a call, or its error."""
    noise = torch.Generator().manual_seed(1)
    inputs = [cast(x, dtype, noise, grad) for x in sample.inputs]
    options = {name: cast(x, dtype, noise, grad) for name, x in sample.options.items()}
    leaves = [x for x in (*inputs, *options.values()) if isinstance(x, Tensor) and x.requires_grad]
    torch.manual_seed(0)
    try:
        y = op(*inputs, **options)
        outputs = [t for t in (y if isinstance(y, tuple) else (y,)) if isinstance(t, Tensor)]
        roots = [t for t in outputs if t.requires_grad]
        if not roots:
            return outputs
        upstreams = [torch.randn(t.shape, generator=noise, dtype=t.dtype) for t in roots]
        found = torch.autograd.grad(roots, leaves, upstreams, allow_unused=True)
        zeros = [torch.zeros_like(x) if g is None else g for x, g in zip(leaves, found, strict=True)]
        return [*outputs, *zeros]
    except (RuntimeError, TypeError, ValueError, IndexError, AssertionError) as error:
        return error


@pytest.mark.parametrize("dtype", KINDS, ids=str)
def test_takes_the_dtypes_that_the_built_in_takes(dtype):
    compared = 0
    for name, record in RECORDS.items():
        if record.of_modules or name in COMPOSED:
            continue
        for sample in record.samples(Make(torch.float64)):
            tensors = [x for x in (*sample.inputs, *sample.options.values()) if isinstance(x, Tensor)]
            # The built-in does not check the dtype of empty tensors, and complex products of infinities are NaN.
            if not tensors or any(x.numel() == 0 or not x.double().isfinite().all() for x in tensors):
                continue
            grad = not isinstance(outcome(record.builtin, sample, dtype, True), Exception)
            expected = outcome(record.builtin, sample, dtype, grad)
            actual = outcome(record.custom, sample, dtype, grad)
            call = f"{name}({sample}) of {dtype}"
            if isinstance(expected, Exception):
                refused = isinstance(actual, Exception) or name in ONLY_OURS or not dtype.is_complex
                assert refused, f"{call}: the built-in refuses: {expected}"
                if isinstance(actual, Exception) and str(actual) != str(expected):
                    assert re.match(r"\w+: expected ", str(actual)), f"{call}: {actual}"
                continue
            if name in ROUNDED and not dtype.is_complex:
                continue
            if isinstance(actual, Exception):
                raise AssertionError(f"{call} is refused") from actual
            compared += 1
            for a, b in zip(actual, expected, strict=True):
                torch.testing.assert_close(a, b, msg=lambda m, call=call: f"{call}: {m}")
    assert compared > 30


# Which dtype the built-in returns depends there on which tensor has which.
OWN_PROMOTION = {"huber_loss", "binary_cross_entropy_with_logits"}


def test_two_dtypes_give_the_one_that_the_built_in_returns():
    compared = 0
    for name, record in RECORDS.items():
        if record.of_modules or record.builtin.__module__.startswith("reference") or name in OWN_PROMOTION:
            continue
        for sample in list(record.samples(Make(torch.float32)))[::3]:
            arguments = {**dict(enumerate(sample.inputs)), **sample.options}
            floating = [
                key
                for key, x in arguments.items()
                if isinstance(x, Tensor) and x.is_floating_point() and x.numel() and x.itemsize > 1
            ]
            others = (torch.int32, torch.bfloat16, torch.float64)
            for key, other, rest in itertools.product(floating, others, (torch.bfloat16, torch.float32)):
                if len(floating) < 2 or other is rest:
                    continue
                dtypes = dict.fromkeys(floating, rest) | {key: other}
                given = {k: arguments[k].detach().clamp(0, 1).to(dtype) for k, dtype in dtypes.items()}
                inputs = [given.get(i, x) for i, x in enumerate(sample.inputs)]
                options = {k: given.get(k, x) for k, x in sample.options.items()}
                try:
                    expected = record.builtin(*inputs, **options)
                    actual = record.custom(*inputs, **options)
                except (RuntimeError, TypeError, ValueError, AssertionError):
                    continue  # the campaign judges refusals
                pairs = zip(*([y] if isinstance(y, Tensor) else y for y in (actual, expected)), strict=True)
                assert all(a is b or a.dtype is b.dtype for a, b in pairs), f"{name}({sample}), {key} in {other}"
                compared += 1
    assert compared > 150


def z(*shape: int) -> Tensor:
    """Returns complex normal values, differentiable."""
    return torch.randn(*shape, dtype=torch.complex128, requires_grad=True)


@pytest.mark.parametrize(
    ("op", "shapes"),
    [
        pytest.param(F.linear, [(2, 3), (4, 3), (4,)], id="linear"),
        pytest.param(F.bilinear, [(2, 3), (2, 2), (4, 3, 2), (4,)], id="bilinear"),
        pytest.param(lambda *t: F.conv2d(*t, 2, 1), [(1, 2, 3, 3), (2, 2, 2, 2), (2,)], id="conv2d"),
        pytest.param(lambda *t: F.conv_transpose1d(*t, 2, 1), [(1, 2, 3), (2, 2, 3), (2,)], id="conv_transpose1d"),
        pytest.param(lambda x, w: F.conv1d(x, w, groups=2), [(1, 2, 4), (4, 1, 3)], id="conv1d-grouped"),
        pytest.param(F.l1_loss, [(3,), (3,)], id="l1_loss"),
        pytest.param(lambda x: F.normalize(x, 3.0), [(2, 3)], id="normalize"),
        pytest.param(lambda x: F.logsumexp(x, (0, 2)), [(2, 3, 2)], id="logsumexp"),
        pytest.param(lambda v, g: F.weight_norm(v, g, -1), [(2, 3), (1,)], id="weight_norm"),
        pytest.param(F.pairwise_distance, [(2, 3), (2, 3)], id="pairwise_distance"),
        pytest.param(F.triplet_margin_loss, [(2, 3)] * 3, id="triplet_margin_loss"),
        pytest.param(F.poisson_nll_loss, [(3,), (3,)], id="poisson_nll_loss"),
        pytest.param(lambda x: F.unfold(x, 2, padding=1), [(1, 1, 2, 2)], id="unfold"),
        pytest.param(lambda x: F.fold(x, (3, 3), 2), [(1, 4, 4)], id="fold"),
        pytest.param(lambda x, w: F.rms_norm(x, (3,), w), [(2, 3), (3,)], id="rms_norm"),
        pytest.param(lambda x: F.embedding(torch.tensor([0, 2, 0]), x), [(3, 2)], id="embedding"),
        *(pytest.param(getattr(F, n), [(5,)], id=n) for n in ("sigmoid", "tanh", "softsign", "tanhshrink")),
        *(
            pytest.param(lambda x, mode=mode: F.pad(x, (1, 1), mode), [(1, 1, 3)], id=mode)
            for mode in ("constant", "reflect", "replicate", "circular")
        ),
    ],
)
def test_derivatives_of_complex_tensors(op, shapes):
    torch.manual_seed(0)
    inputs = [z(*shape) for shape in shapes]
    assert gradcheck(op, inputs, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(op, inputs, check_fwd_over_rev=True)


def test_gradient_of_a_real_tensor_among_complex_ones_is_real():
    x, target = torch.randn(3, dtype=torch.float64, requires_grad=True), z(3)
    assert gradcheck(F.l1_loss, (x, target))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_convolution_without_input_channels_has_no_outputs(dims):
    shapes = (1, 0, *(8,) * dims), (2, 0, *(3,) * dims)
    for grad in (False, True):
        x, w = (torch.randn(shape, requires_grad=grad) for shape in shapes)
        conv = f"conv{dims}d"
        y, expected = getattr(F, conv)(x, w), getattr(torch.nn.functional, conv)(x, w)
        assert y.shape == expected.shape
        if grad:
            y.sum().backward()
            assert (x.grad.shape, w.grad.shape) == (x.shape, w.shape)


INDEXED = {
    "embedding": lambda F, i: F.embedding(i, torch.ones(5, 2)),
    "embedding_bag": lambda F, i: F.embedding_bag(i.view(1, -1), torch.ones(5, 2)),
    "nll_loss": lambda F, i: F.nll_loss(torch.zeros(3, 5), i),
    "cross_entropy": lambda F, i: F.cross_entropy(torch.zeros(3, 5), i),
    "multi_margin_loss": lambda F, i: F.multi_margin_loss(torch.zeros(3, 5), i),
    "one_hot": lambda F, i: F.one_hot(i, 5),
}


@pytest.mark.parametrize(
    ("name", "dtype"),
    list(itertools.product(INDEXED, (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64))),
)
def test_takes_the_index_dtypes_that_the_built_in_takes(name, dtype):
    indices = torch.tensor([0, 2, 1], dtype=dtype)
    try:
        expected = INDEXED[name](torch.nn.functional, indices)
    except (RuntimeError, IndexError):
        with pytest.raises((RuntimeError, IndexError), match=rf"{name}: expected"):
            INDEXED[name](F, indices)
    else:
        torch.testing.assert_close(INDEXED[name](F, indices), expected)


@pytest.mark.slow
@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_autocast_gives_what_the_built_in_gives(record):
    sample = next(iter(record.samples(Make(torch.float64))))
    found = compare(
        *record.sides(sample), *sample.inputs, autocast=True, roundings=record.roundings, **sample.options
    )
    assert not [str(row) for row in found.rows if row.check == "autocast" and row.fails]
