"""Every planted fault is caught by the check that should catch it, and no correct twin is."""

from __future__ import annotations

import pytest
import torch
from faults import FAULTS, TWINS
from scripts import expect_all_to_show_again

from scratchnet.testing import check, compare, explain
from scratchnet.testing.checks import CHECKS
from scratchnet.testing.diagnosis import likely_cause
from scratchnet.testing.verdict import grouped


def unhurried(names, slow):
    return [pytest.param(name, marks=pytest.mark.slow) if slow(name) else name for name in names]


# The twins of ordinary Functions are like those of tests/testing/ordinary, and the compiler takes seconds.
USUAL_TWINS = unhurried(TWINS, lambda name: name.startswith("plain"))
DERIVABLE_TWINS = unhurried(
    (n for n, twin in TWINS.items() if twin.derivable), lambda name: name.startswith("plain")
)
USUAL_FAULTS = unhurried(FAULTS, lambda name: FAULTS[name].kind == "wrong fake")
SEEDS = [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]


def inputs_of(twin, seed):
    return twin.inputs(torch.Generator().manual_seed(seed))


def roots(fault, **options):
    """The disagreements that do not follow from another."""
    result = compare(fault.apply, fault.twin.builtin, *inputs_of(fault.twin, 0), **options)
    return [row for row, _ in grouped(result.failures)]


def said(rows):
    return "\n".join(f"{r.quantity}: {r.verdict} {r.got} {r.expected} {r.tolerance} {r.note}" for r in rows)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", USUAL_FAULTS)
def test_a_fault_is_caught_by_the_check_that_should(name, seed):
    fault = FAULTS[name]
    only = {key: key in fault.checks for key in CHECKS if key not in ("output", "gradients")}
    result = compare(fault.apply, fault.twin.builtin, *inputs_of(fault.twin, seed), seed=seed, **only)
    assert set(fault.checks) & {row.check for row in result.failures}, said(result.failures)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", USUAL_TWINS)
def test_a_correct_twin_passes_every_check(name, seed):
    twin = TWINS[name]
    result = compare(twin.apply, twin.builtin, *inputs_of(twin, seed), seed=seed, thorough=True)
    assert result.ok, said(result.failures)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", DERIVABLE_TWINS)
def test_a_correct_twin_passes_without_its_built_in(name, seed):
    twin = TWINS[name]
    result = check(twin.apply, *inputs_of(twin, seed), seed=seed, compile=False)
    assert result.ok, said(result.failures)


@pytest.mark.slow
def test_defaults_catch_most_faults_and_name_the_cause():
    found = {name: roots(fault) for name, fault in FAULTS.items()}
    caught = [name for name, rows in found.items() if rows]
    named = [name for name in caught if FAULTS[name].cause in likely_cause(found[name][0])]
    assert len(caught) >= 0.8 * len(FAULTS)
    assert len(named) >= 0.9 * len(caught), sorted(set(caught) - set(named))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught_by_thorough(name):
    fault = FAULTS[name]
    # A convention is a failure only where it is asked for.
    asked = dict.fromkeys({"special_values", "empty"} & set(fault.checks), True)
    assert roots(fault, thorough=True, compile="compile" in fault.checks and "aot_eager", **asked)


@pytest.mark.slow
def test_thorough_names_the_cause():
    found = {name: roots(fault, thorough=True, compile=False) for name, fault in FAULTS.items()}
    named = [name for name, rows in found.items() if rows and FAULTS[name].cause in likely_cause(rows[0])]
    assert len(named) >= 0.9 * len(FAULTS), sorted(set(FAULTS) - set(named))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_every_printed_script_shows_its_fault_again(name):
    fault = FAULTS[name]
    inputs = inputs_of(fault.twin, 0)
    comparison = compare(fault.apply, fault.twin.builtin, *inputs)
    if comparison.ok:
        asked = dict.fromkeys(set(fault.checks) - {"output", "gradients"}, True)
        comparison = compare(fault.apply, fault.twin.builtin, *inputs, **asked)
    expect_all_to_show_again(explain(comparison), custom=fault.apply, builtin=fault.twin.builtin)


def test_there_are_enough_of_them():
    assert len(FAULTS) >= 180
    assert all(fault.cause for fault in FAULTS.values())
    assert len({fault.kind for fault in FAULTS.values()}) >= 40
    named = {check for fault in FAULTS.values() for check in fault.checks}
    # What a built-in of PyTorch cannot be told from by its own rules has its fault in test_checks.py.
    assert named >= set(CHECKS) - {"memory", "forward_over_reverse", "vmap", "no_grad", "each_alone", "opcheck"}
