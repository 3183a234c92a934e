"""Every planted fault is caught by the check that should catch it, and no correct twin is."""

from __future__ import annotations

import pytest
import torch
from faults import FAULTS, TWINS

from scratchnet.testing import check, compare
from scratchnet.testing.checks import CHECKS

SEEDS = [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]


def inputs_of(twin, seed):
    return twin.inputs(torch.Generator().manual_seed(seed))


def said(rows):
    return "\n".join(f"{r.quantity}: {r.verdict} {r.got} {r.expected} {r.tolerance} {r.note}" for r in rows)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught_by_the_check_that_should(name, seed):
    fault = FAULTS[name]
    only = {key: key in fault.checks for key in CHECKS if key not in ("output", "gradients")}
    result = compare(fault.apply, fault.twin.builtin, *inputs_of(fault.twin, seed), seed=seed, **only)
    assert set(fault.checks) & {row.check for row in result.failures}, said(result.failures)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", TWINS)
def test_a_correct_twin_passes_every_check(name, seed):
    twin = TWINS[name]
    result = compare(twin.apply, twin.builtin, *inputs_of(twin, seed), seed=seed, thorough=True)
    assert result.ok, said(result.failures)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", TWINS)
def test_a_correct_twin_passes_without_its_built_in(name, seed):
    twin = TWINS[name]
    result = check(twin.apply, *inputs_of(twin, seed), seed=seed, compile=False)
    assert result.ok, said(result.failures)


def test_there_are_enough_of_them():
    assert len(FAULTS) >= 40
    assert len({fault.kind for fault in FAULTS.values()}) >= 12
    named = {check for fault in FAULTS.values() for check in fault.checks}
    # What a built-in of PyTorch cannot be told from by its own rules has its fault in test_checks.py.
    assert named >= set(CHECKS) - {"memory", "forward_over_reverse", "vmap", "no_grad", "each_alone", "opcheck"}
