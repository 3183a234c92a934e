"""Shapes with zeros and ones: every dimension of every tensor of the catalog's samples."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch import Tensor

from reference.catalog import RECORDS, Make, Record, Sample

# Ops whose built-in fails to check some of these shapes, so that ours need not match.
BUILTIN_CRASHES = {"LSTM", "ctc_loss", "embedding_bag", "scaled_dot_product_attention", "weight_norm"}
BUILTIN_READS_OUT_OF_BOUNDS = {
    "bilinear",
    "conv1d",
    "conv2d",
    "conv2d_relu",
    "conv3d",
    "conv_tbc",
    "grouped_mm",
}
BUILTIN_DOES_NOT_CHECK_EMPTY = {"batch_norm", "cross_entropy", "instance_norm", "nll_loss", "scaled_mm"}
OURS_DOES_NOT_BROADCAST = {
    "learned_elu",
    "linear_cross_entropy",
    "linear_kernel",
    "polynomial_kernel",
    "rbf_kernel",
}
OTHER_CHECKS_COME_FIRST = {"fractional_max_pool3d", "pixel_unshuffle"}
BUILTIN_BROADCASTS_PROJECTIONS = {name for name in RECORDS if "Transformer" in name or "multi_head" in name}
NOT_COMPARED = (
    BUILTIN_CRASHES
    | BUILTIN_READS_OUT_OF_BOUNDS
    | BUILTIN_DOES_NOT_CHECK_EMPTY
    | OURS_DOES_NOT_BROADCAST
    | OTHER_CHECKS_COME_FIRST
    | BUILTIN_BROADCASTS_PROJECTIONS
)
# Words of ours where the built-in returns memory that nobody wrote.
REFUSED = {"pad": "expected widths that leave elements"}
UNINTENDED_ERRORS = (AttributeError, KeyError, NameError, UnboundLocalError, ZeroDivisionError)


def resized(x: Tensor, dim: int, size: int) -> Tensor:
    shape = (*x.shape[:dim], size, *x.shape[dim + 1 :])
    values = x.detach().narrow(dim, 0, size) if x.shape[dim] >= size else x.new_ones(shape)
    return values.clone().requires_grad_(x.requires_grad)


def variants(sample: Sample) -> Iterator[Sample]:
    """Yields the sample with one dimension, or all dimensions of one size, resized to 0 or 1."""
    tensors = {i: x for i, x in enumerate(sample.inputs) if isinstance(x, Tensor)}

    def put(new: dict[int, Tensor]) -> Sample:
        return replace(sample, inputs=tuple(new.get(i, x) for i, x in enumerate(sample.inputs)))

    for size in (0, 1):
        for i, x in tensors.items():
            for dim in range(x.dim()):
                if x.shape[dim] != size:
                    yield put({i: resized(x, dim, size)})
        for n in sorted({n for x in tensors.values() for n in x.shape} - {size}):
            new = {}
            for i, x in tensors.items():
                for dim in range(x.dim()):
                    x = resized(x, dim, size) if x.shape[dim] == n else x
                new[i] = x
            yield put(new)


def shapes(function, sample: Sample) -> list[tuple[int, ...]] | Exception:
    """Returns the shapes of the outputs after a backward, or the error."""
    inputs = [
        x.detach().clone().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in sample.inputs
    ]
    try:
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = function(*inputs, **sample.options)
    except Exception as error:
        return error
    outputs = [y for y in (result if isinstance(result, tuple) else (result,)) if isinstance(y, Tensor)]
    leaves = [x for x in inputs if isinstance(x, Tensor) and x.requires_grad]
    graded = [y.sum() for y in outputs if y.requires_grad and leaves]
    for grad, leaf in zip(
        torch.autograd.grad(graded, leaves, allow_unused=True) if graded else (), leaves, strict=False
    ):
        assert grad is None or grad.shape == leaf.shape
    return [tuple(y.shape) for y in outputs]


def disagreements(record: Record, most: int | None) -> Iterator[str]:
    samples = record.samples(Make(torch.float64))
    for sample in islice((v for s in samples for v in variants(s)), most):
        if not record.empty and any(isinstance(x, Tensor) and not x.numel() for x in sample.inputs):
            continue
        ours, builtin = record.sides(sample)
        got = shapes(ours, sample)
        if isinstance(got, UNINTENDED_ERRORS):
            yield f"{sample}: {got!r}"
        if record.name in BUILTIN_CRASHES:
            continue
        try:
            expected = shapes(builtin, sample)
        except RuntimeError:  # the backward fails
            continue
        if isinstance(expected, Exception) or record.name in NOT_COMPARED:
            continue  # ours may return a result or raise another error
        if isinstance(got, Exception) and record.name in REFUSED and REFUSED[record.name] in str(got):
            continue
        if got != expected:
            yield f"{sample}: {got!r} instead of {expected}"


@pytest.mark.parametrize("most", [8, pytest.param(None, marks=pytest.mark.slow)], ids=["some", "all"])
@pytest.mark.parametrize("name", RECORDS)
def test_shapes_with_zeros_and_ones_match_the_built_in(name, most):
    assert list(disagreements(RECORDS[name], most)) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [n for n, r in RECORDS.items() if r.empty and n not in BUILTIN_CRASHES])
def test_sums_of_no_terms_are_numbers_beside_infinities_as_the_built_in_s_are(name):
    record = RECORDS[name]
    for sample in (v for s in record.samples(Make(torch.float32)) for v in variants(s)):
        tensors = [x for x in sample.inputs if isinstance(x, Tensor)]
        if all(x.numel() for x in tensors):
            continue
        for x in tensors:
            if x.dtype is torch.float32:
                x.data.fill_(float("inf"))
        for mine, own in zip(*(outputs(side, sample) for side in record.sides(sample)), strict=False):
            comparable = mine.shape == own.shape and mine.is_floating_point()
            assert not comparable or not (mine.isnan() & ~own.isnan()).any(), str(sample)


def outputs(function, sample: Sample) -> list[Tensor]:
    """Returns the outputs of a call; none of one that is refused, which is compared above."""
    try:
        result = function(*sample.inputs, **sample.options)
    except (AssertionError, IndexError, RuntimeError, ValueError):
        return []
    return [y for y in (result if isinstance(result, tuple) else (result,)) if isinstance(y, Tensor)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [n for n, r in RECORDS.items() if r.empty and n not in BUILTIN_CRASHES])
def test_empty_outputs_have_zero_gradients_beside_infinities_as_the_built_in_has(name):
    record = RECORDS[name]
    for sample in (v for s in record.samples(Make(torch.float64)) for v in variants(s)):
        leaves = [x for x in sample.inputs if isinstance(x, Tensor) and x.requires_grad]
        for x in leaves:
            x.data.fill_(float("inf"))
        ours, theirs = (gradients_of_nothing(side, sample, leaves) for side in record.sides(sample))
        for mine, own in zip(ours, theirs, strict=False):
            assert not mine.count_nonzero() or own.count_nonzero(), str(sample)


def gradients_of_nothing(function, sample: Sample, leaves: list[Tensor]) -> list[Tensor]:
    """Returns the gradients of a call whose outputs have no elements; none for other calls."""
    found = outputs(function, sample)
    graded = [y.sum() for y in found if y.requires_grad]
    if not graded or any(y.numel() for y in found):
        return []
    try:
        return list(torch.autograd.grad(graded, leaves, allow_unused=True, materialize_grads=True))
    except RuntimeError:  # the built-in's backward fails
        return []
