"""Compares every op of the catalog with PyTorch's."""

from __future__ import annotations

import copy
import io
import warnings

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from reference.catalog import DTYPES, RECORDS, Make
from reference.check import check, check_errors
from scratchnet import functional, nn, optim
from scratchnet.testing.subject import Call, Subject

# All tests of an op run in one process, so that they share the cache of `check`.
GROUPS = {name: pytest.mark.xdist_group(name) for name in RECORDS}
every_op = pytest.mark.parametrize(
    "record", [pytest.param(record, id=name, marks=GROUPS[name]) for name, record in RECORDS.items()]
)
# Samples that raise warnings are compared too.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize(
    ("record", "dtype"),
    [
        pytest.param(record, dtype, id=f"{name}-{str(dtype).removeprefix('torch.')}", marks=GROUPS[name])
        for name, record in RECORDS.items()
        for dtype in DTYPES
    ],
)
def test_agrees_with_the_built_in(record, dtype):
    result = check(record, dtype)
    assert result.ok, "\n\n".join(str(c) for c in result.comparisons if not c.ok)


@every_op
def test_builtin_lacks_matches_the_comparisons(record):
    rows = [r for c in check(record, torch.float64).comparisons for r in c.rows]
    lacking = {r.quantity for r in rows if r.verdict == "not compared"}
    assert lacking == set(record.builtin_lacks)


@every_op
@pytest.mark.parametrize("most", [2, pytest.param(None, marks=pytest.mark.slow)], ids=["some", "all"])
def test_derivatives_agree_with_finite_differences(record, most):
    checked = 0
    for sample in record.samples(Make(torch.float64)):
        if checked == most:
            break
        subject, call = record.call(sample)
        leaves = call.leaves()
        if not sample.smooth or not leaves or any(x.numel() == 0 for x in leaves):
            continue
        # Finite differences write to the inputs, so expanded inputs need memory of their own.
        leaves = [x.detach().contiguous().clone().requires_grad_() for x in leaves]

        def function(*leaves: Tensor, subject: Subject = subject, call: Call = call) -> tuple[Tensor, ...]:
            outputs = subject.run(call.with_leaves(leaves))
            return tuple(y for y in outputs if y.is_floating_point())

        assert gradcheck(function, leaves, check_forward_ad=True, check_batched_grad=True)
        if checked == 0 or most is None and checked < 3:
            assert gradgradcheck(function, leaves, check_fwd_over_rev=True)
        checked += 1
    assert checked or not record.functions


@every_op
def test_bad_input_fails_as_the_built_in_does(record):
    assert check_errors(record) == []


MODULES = [
    pytest.param(custom, builtin, id=f"{record.name}-{i}")
    for record in RECORDS.values()
    for i, (custom, builtin) in enumerate(record.modules)
]


@pytest.mark.parametrize(("custom", "builtin"), MODULES)
def test_modules_are_drop_in(custom, builtin):
    torch.manual_seed(0)
    ours = custom()
    torch.manual_seed(0)
    theirs = builtin()
    assert repr(ours) == repr(theirs)
    state, expected = ours.state_dict(), theirs.state_dict()
    assert list(state) == list(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=0, msg=f"initial {name} differs")
    ours.load_state_dict(expected)
    theirs.load_state_dict(state)
    again = torch.load(_saved(ours), weights_only=False)
    assert repr(copy.deepcopy(ours)) == repr(again) == repr(theirs)


def _saved(module: torch.nn.Module) -> io.BytesIO:
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    return buffer


def test_every_public_op_has_a_record():
    ops = set(functional.__all__) | set(optim.__all__)
    assert ops <= set(RECORDS)
    assert set(RECORDS) - ops <= set(dir(nn))  # modules that have no functional form


def test_every_module_of_ours_has_a_record():
    recorded = {custom().__class__.__name__ for r in RECORDS.values() for custom, _ in r.modules}
    without_twin = {"KernelSVM", "LearnedELU", "LinearSVM", "Maxout"}  # PyTorch has no module to pair these with
    # Tested in tests/nn. Lazy modules become modules that have a record.
    elsewhere = {"AdaptiveLogSoftmaxWithLoss", "NLLLoss2d", "SyncBatchNorm"}
    elsewhere |= {"NonDynamicallyQuantizableLinear"}
    ours = {n for n, c in vars(nn).items() if getattr(c, "__module__", "").startswith("scratchnet.nn.modules.")}
    assert {n for n in ours if not n.startswith("Lazy")} == recorded | without_twin | elsewhere


def test_samples_are_the_same_each_time():
    with warnings.catch_warnings():
        for record in RECORDS.values():
            first, second = (list(record.samples(Make(torch.float64))) for _ in range(2))
            assert [str(s) for s in first] == [str(s) for s in second]
            for a, b in zip(first, second, strict=True):
                for x, y in zip(a.inputs, b.inputs, strict=True):
                    if isinstance(x, Tensor):
                        assert torch.equal(x, y) or x.isnan().any()
