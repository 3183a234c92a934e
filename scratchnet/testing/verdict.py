"""The verdict a person can use: what is wrong, where, why, and how to see it again."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from scratchnet.testing.check import check
from scratchnet.testing.checks import CHECKS
from scratchnet.testing.compare import compare, examine
from scratchnet.testing.comparison import Comparison, Row
from scratchnet.testing.diagnosis import likely_cause
from scratchnet.testing.examination import Examination
from scratchnet.testing.findings import Findings
from scratchnet.testing.reproduction import reproduction
from scratchnet.testing.shrink import shrink
from scratchnet.testing.subject import Call

__all__ = ["assert_gradients_match", "explain", "grouped"]

MOST = 8
# What can fail although every gradient is right.
BESIDE_GRADIENTS = ("output", "gradients", "no_grad", "forward_mode", "threads", "leaks")


def assert_gradients_match(
    custom: Callable[..., Any],
    builtin: Callable[..., Any] | None,
    *inputs: Any,
    thorough: bool = True,
    **options: Any,
) -> Comparison:
    """Passes if a custom function equals the built-in in everything that `compare` can examine.

    Args:
        custom: the function or module under test.
        builtin: what it must equal, or None where nothing does; then `check` judges it.
        *inputs: positional arguments of both.
        thorough: every check; otherwise the usual ones.
        **options: the keywords of `compare` and of both functions.

    Returns:
        The comparison, where nothing disagrees.

    Raises:
        AssertionError: with the whole verdict of `explain`.

    Example:
        >>> import torch
        >>> x = torch.linspace(-1, 1, 6, dtype=torch.float64)
        >>> assert_gradients_match(lambda x: x.exp(), torch.exp, x, compile=False).ok
        True
    """
    __tracebackhide__ = True
    if builtin is None:
        result = check(custom, *inputs, thorough=thorough, **options)
    else:
        result = compare(custom, builtin, *inputs, thorough=thorough, **options)
    if not result.ok:
        raise AssertionError(explain(result))
    return result


def explain(comparison: Comparison) -> str:
    """For each disagreement: where and by how much, the smallest input that shows it, a likely cause, a script.

    Example:
        >>> import torch
        >>> x = torch.linspace(-1, 1, 6, dtype=torch.float64)
        >>> wrong = compare(lambda x: x.sin() - 2 * (x - x.detach()) * x.cos(), torch.sin, x, name="sine")
        >>> print(explain(wrong).splitlines()[1].strip())
        1. gradient of input: differs
    """
    if comparison.ok:
        return f"{comparison.name}: {comparison.headline}"
    if not comparison.failures:
        return str(comparison)
    found = grouped(comparison.failures)
    parts = [_finding(i, row, following) for i, (row, following) in enumerate(found[:MOST], 1)]
    if len(found) > MOST:
        parts.append(f"and {len(found) - MOST} more: {_listed([row for row, _ in found[MOST:]])}")
    return "\n".join([f"{comparison.name}: {comparison.headline}", *parts])


def grouped(failures: Sequence[Row]) -> list[tuple[Row, list[Row]]]:
    """The failures that stand by themselves, each with those that follow from it; first what was overwritten."""
    found: list[tuple[Row, list[Row]]] = []
    for row in sorted(failures, key=lambda row: not row.is_side_effect):
        first = next((following for root, following in found if _explains(root, row)), None)
        if first is None:
            found.append((row, []))
        else:
            first.append(row)
    return found


def _explains(root: Row, row: Row) -> bool:
    """Whether a failure follows from another: wrong values from a wrong output, most else from a wrong gradient."""
    if row.check == "opcheck":
        return False
    if row.is_side_effect:
        return root.quantity == row.quantity
    if root.is_side_effect:
        return root.check != "output" or row.check != "gradients"
    if root.check == "gradients":
        return row.check not in BESIDE_GRADIENTS
    return root.check == "output" or root.check == row.check


def _listed(rows: Sequence[Row]) -> str:
    names = [row.quantity for row in rows]
    return ", ".join(names[:MOST]) + (f" and {len(names) - MOST} others" if len(names) > MOST else "")


def _finding(number: int, row: Row, following: Sequence[Row]) -> str:
    lines = [f"{row.quantity}: {row.verdict}"]
    if row.index is not None:
        lines.append(f"at {list(row.index)}: got {row.got:.9g}, expected {row.expected:.9g}")
        size = f"error {row.largest:.2e} (allowed {row.tolerance:.1e})"
        if math.isfinite(row.relative):
            size += f", relative {row.relative:.2e}, {row.ulps:.3g} ulp"
        if row.builtin_error:
            size += f"; at most {row.error:.3g} ulp of the largest element, the built-in {row.builtin_error:.3g}"
        lines.append(size)
    if row.note:
        lines.append(row.note)
    if cause := likely_cause(row):
        lines.append(f"likely cause: {cause}")
    if row.evidence is not None:
        call, found = _smallest(row, row.evidence.examination)
        shapes = [str(tuple(x.shape)) for x in call.tensors(parameters=False)]
        lines.append(f"smallest input that shows it: {', '.join(shapes)}")
        e = row.evidence.examination
        script = reproduction(found, call, e)
        lines += ["to see it again:", *(f"    {line}" for line in script.splitlines())]
    if following:
        lines.append(f"what follows from it: {_listed(following)}")
    return "\n".join([f"  {number}. {lines[0]}", *(f"     {line}" for line in lines[1:])])


def _copied(call: Call) -> Call:
    """The call on copies, which a function that overwrites its inputs may change."""
    return call.with_leaves([x.detach().clone().requires_grad_() for x in call.leaves()])


def _smallest(row: Row, e: Examination) -> tuple[Call, Row]:
    """The smallest call that still shows a row, and the row there."""
    last = row
    # A call derived by a check is made again from the smaller one by the same check.
    start = e.origin

    def shows(call: Call) -> bool:
        nonlocal last
        needed = [row.check] if row.check == "output" else ["output", row.check]
        findings = Findings(
            e.findings.roundings,
            needed if row.check in CHECKS else (),
            e.findings.required,
            e.findings.by_hand,
            e.findings.kinds,
        )
        again = Examination(start.ours, start.theirs, _copied(call), findings, e.backend, e.numerical)
        for found in examine(again):
            if found.quantity == row.quantity and found.verdict == row.verdict:
                last = found
                return True
        return False

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = shrink(start.call, shows)
        shows(small)
    return small, last
