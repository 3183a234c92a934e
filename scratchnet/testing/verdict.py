"""The verdict a person can use: what is wrong, where, why, and how to see it again."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from scratchnet.testing.board import Board
from scratchnet.testing.check import check
from scratchnet.testing.checks import CHECKS
from scratchnet.testing.compare import compare, examine
from scratchnet.testing.comparison import Comparison, Row
from scratchnet.testing.diagnosis import likely_cause
from scratchnet.testing.examination import Examination
from scratchnet.testing.reproduction import reproduction
from scratchnet.testing.smaller import shrunk
from scratchnet.testing.subject import Call

__all__ = ["assert_gradients_match", "explain"]

MOST = 8


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
        return f"{comparison.name}: nothing disagrees"
    failures = comparison.failures
    head = f"{comparison.name}: {len(failures)} of {len(comparison.rows)} quantities disagree"
    if not failures:
        return f"{comparison.name}: nothing could be compared\n{comparison}"
    parts = [_finding(i, row) for i, row in enumerate(failures[:MOST], 1)]
    if len(failures) > MOST:
        parts.append(f"and {len(failures) - MOST} more: " + ", ".join(row.quantity for row in failures[MOST:]))
    return "\n".join([head, *parts])


def _finding(number: int, row: Row) -> str:
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
        script = reproduction(found, e.ours, e.theirs, call, e.numerical, e.board.roundings)
        lines += ["to see it again:", *(f"    {line}" for line in script.splitlines())]
    return "\n".join([f"  {number}. {lines[0]}", *(f"     {line}" for line in lines[1:])])


def _smallest(row: Row, e: Examination) -> tuple[Call, Row]:
    """The smallest call that still shows a row, and the row there."""
    last = row
    # A call derived by a check is made again from the smaller one by the same check.
    start = e.origin

    def shows(call: Call) -> bool:
        nonlocal last
        again = Examination(start.ours, start.theirs, call, Board(e.board.roundings), e.backend, e.numerical)
        needed = [row.check] if row.check == "output" else ["output", row.check]
        for found in examine(again, needed if row.check in CHECKS else ()):
            if found.quantity == row.quantity and found.verdict == row.verdict:
                last = found
                return True
        return False

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = shrunk(start.call, shows)
        shows(small)
    return small, last
