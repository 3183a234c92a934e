"""A common offset of the logits costs no digits: every loss and softmax, against float64 of the same rounded inputs."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from reference.catalog import RECORDS, Make, losses
from scratchnet import functional as S
from scratchnet import nn

F = torch.nn.functional
OFFSETS = (0.0, 1e2, 1e4, 1e6, 1e8)
SOFTMAXES = ("softmax", "log_softmax", "softmin", "logsumexp")
# Probabilities, which have to stay between 0 and 1, and vectors, whose distances are no sums of exponentials.
NO_LOGITS = {"binary_cross_entropy", "triplet_margin_loss", "triplet_margin_with_distance_loss"}
FAMILY = [
    *SOFTMAXES,
    *(record.name for record in losses.RECORDS if record.name not in NO_LOGITS),
]
UNITS = 4


def value_and_gradients(op: Callable[..., Any], inputs: Sequence[Any], options: dict[str, Any]) -> list[Tensor]:
    """In float64, of an op and a random upstream; the first tensors are differentiated by."""
    leaves = [x for x in (*inputs, *options.values()) if isinstance(x, Tensor) and x.requires_grad]
    y = op(*inputs, **options)
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(y.dtype)
    found = torch.autograd.grad(y, leaves, upstream, materialize_grads=True) if leaves else ()
    return [t.detach().double() for t in (y, *found)]


def worst(got: Sequence[Tensor], builtin: Sequence[Tensor], truth: Sequence[Tensor], dtype: torch.dtype) -> float:
    """How many units of epsilon ours is farther off than twice the built-in, relative to the largest element."""
    info, found = torch.finfo(dtype), [0.0]
    for mine, other, true in zip(got, builtin, truth, strict=True):
        if true.numel() and true.abs().max() <= info.max:  # beyond, nobody has a value; NaN is beyond too
            size = max(true.abs().max().item(), info.smallest_normal)
            errors = [(t - true).abs().max().nan_to_num(torch.inf).item() / size / info.eps for t in (mine, other)]
            found.append(0.0 if errors[0] <= UNITS else errors[0] - 2 * errors[1])
    return max(found)


def converted(value: Any, dtype: torch.dtype) -> Any:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    return value.detach().to(dtype).requires_grad_(value.requires_grad)


def cases(name: str, offset: float, dtype: torch.dtype) -> Any:
    """The calls of a record with the offset added to the first input, in the dtype and in float64."""
    for sample in RECORDS[name].samples(Make(torch.float64)):
        x, *others = sample.inputs
        if not x.isfinite().all() or not x.numel():
            continue
        shifted = (x + offset).detach().requires_grad_(x.requires_grad)
        short = [converted(v, dtype) for v in (shifted, *others)]
        options = {k: converted(v, dtype) for k, v in sample.options.items()}
        wide = [converted(v, torch.float64) for v in short]
        yield str(sample), short, options, wide, {k: converted(v, torch.float64) for k, v in options.items()}


def check(name: str, offset: float, dtype: torch.dtype) -> None:
    record = RECORDS[name]
    for sample, short, options, wide, wide_options in cases(name, offset, dtype):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of shapes that are broadcast
            builtin = value_and_gradients(record.builtin, short, options)
            truth = value_and_gradients(record.builtin, wide, wide_options)
            got = value_and_gradients(record.custom, short, options)
        assert worst(got, builtin, truth, dtype) <= UNITS, f"{name}({sample}) with {offset:g}"


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_common_offset_costs_no_digits(name, dtype):
    for offset in OFFSETS:
        check(name, offset, dtype)


@pytest.mark.parametrize("frames", [8, 400])
@pytest.mark.parametrize("offset", [*OFFSETS[1:3], *(-offset for offset in OFFSETS)])
def test_ctc_keeps_its_digits_however_long_the_sequence_and_small_the_probability(frames, offset):
    generator = torch.Generator().manual_seed(0)
    labels = frames // 4
    x = torch.randn(frames, 2, 10, generator=generator).mul(3).log_softmax(-1) + min(offset, 80.0)
    targets = torch.randint(1, 10, (2, labels), generator=generator)
    options = {"input_lengths": (frames, frames - 1), "target_lengths": (labels, labels - 1), "reduction": "none"}
    got, truth = (
        value_and_gradients(op, (t.requires_grad_(), targets), options)
        for op, t in ((S.ctc_loss, x), (F.ctc_loss, x.detach().double()))
    )
    # Over 400 frames 70 units were measured, of the built-in 7,000: between two renewals α falls by some tens.
    limit = 8 if frames == 8 else 256
    for mine, true in zip(got, truth, strict=True):
        assert (mine - true).abs().max() <= limit * torch.finfo(torch.float32).eps * true.abs().max()


@pytest.mark.parametrize("offset", OFFSETS)
def test_the_adaptive_softmax_keeps_its_digits(offset):
    torch.manual_seed(0)
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 7], div_value=1.0)
    x = torch.randn(6, 8)
    x[:, 0] = 1
    with torch.no_grad():
        theirs.head.weight[:, 0] += offset
        theirs.tail[0][1].weight += offset / 8
    ours = nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 7], div_value=1.0)
    ours.load_state_dict(theirs.state_dict())
    target = torch.tensor([0, 4, 11, 2, 7, 5])
    found = [
        value_and_gradients(lambda v, m=module: m(v, target).output, (x.to(v).requires_grad_(),), {})
        for module, v in (
            (ours, torch.float32),
            (theirs, torch.float32),
            (copy.deepcopy(theirs).double(), torch.float64),
        )
    ]
    assert worst(*found, torch.float32) <= UNITS


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.2}, {"reduction": "none"}], ids=str)
def test_linear_cross_entropy_keeps_the_digits_of_its_logits(offset, options):
    x = torch.randn(16, 10, generator=torch.Generator().manual_seed(0)).mul(3) + offset
    target = torch.arange(16) % 10

    def loss(package, dtype):
        weight = torch.eye(10, dtype=dtype)
        leaf = x.to(dtype).requires_grad_()
        return value_and_gradients(
            lambda x: package.linear_cross_entropy(x, weight, target, **options), (leaf,), {}
        )

    assert worst(loss(S, x.dtype), loss(F, x.dtype), loss(F, torch.float64), torch.float32) <= UNITS
