"""When tensors agree: one rule by dtype, used by the tests and by the report alike.

float64
    Element by element, |got - expected| ≤ 1e-12 · max(1, largest |expected|) + 1e-10 · |expected|. Two correct
    formulas differ by some tens of roundings of 1e-16, sums of thousands of terms by some hundreds.

float32, bfloat16, float16
    Against the truth, which is the built-in in float64 on the same inputs: the largest error is at most twice
    the built-in's own, plus `UNITS` units in the last place of the largest element. This is the rule of
    flash-attention's tests; it asks for the built-in's accuracy, whatever that is, and no more. Both are taken
    over all upstreams of one quantity, since the built-in may be exact by luck on one of them. Second
    derivatives chain some ten roundings, and forward mode sums terms that cancel: `UNITS_OF_CHAINS`. Ops that are
    composed of several others round between them, dozens of times: `UNITS_OF_COMPOSITES`.
    Where the built-in itself is off by more than the root of its epsilon, float64 took another path (other
    random numbers, a comparison that fell the other way); then the two are held against each other directly.

Everywhere NaN must meet NaN and infinity the same infinity; where a built-in overflows in its short dtype
and the truth is finite, the finite answer counts as right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["UNITS", "UNITS_OF_CHAINS", "UNITS_OF_COMPOSITES", "Agreement", "Case", "agreement"]

RELATIVE = 1e-10
ABSOLUTE = 1e-12
UNITS = 1
UNITS_OF_CHAINS = 4
UNITS_OF_COMPOSITES = 16
TIMES_BUILTIN = 2


class Case(NamedTuple):
    """One tensor of the custom side, the built-in's, and the built-in's in float64 where there is one."""

    got: Tensor
    expected: Tensor
    truth: Tensor | None = None


@dataclass(frozen=True)
class Agreement:
    """How the tensors of one case compare.

    Attributes:
        exact: whether they are equal bit for bit (any NaN equals any NaN).
        close: whether they agree within the tolerance.
        largest: the largest difference from what was expected; infinite where one side is not finite.
        index: where it is, None for exact agreement.
        got: the custom value there.
        expected: the expected value there.
        tolerance: the difference that was allowed there.
    """

    exact: bool
    close: bool
    largest: float = 0.0
    index: tuple[int, ...] | None = None
    got: float = 0.0
    expected: float = 0.0
    tolerance: float = 0.0


EXACT = Agreement(exact=True, close=True)


def agreement(cases: Sequence[Case], units: int = UNITS) -> list[Agreement]:
    """Judges the cases of one quantity, which share one dtype, together.

    Args:
        cases: got, expected and truth, under each upstream.
        units: how many units in the last place of the largest element are allowed in a short dtype.
    """
    cases = [case._replace(truth=_truth(case)) for case in cases]
    shared = 0.0
    if cases and cases[0].got.is_floating_point() and cases[0].got.dtype is not torch.float64:
        info = torch.finfo(cases[0].got.dtype)
        own = max(_largest_finite(_distance(c.expected.double(), c.truth)) for c in cases if c.truth is not None)
        scale = max(_largest_finite(c.truth) for c in cases if c.truth is not None)
        shared = TIMES_BUILTIN * own + units * (info.eps * scale + info.smallest_normal)
    return [_judge(case, shared) for case in cases]


def _truth(case: Case) -> Tensor:
    """What the case is held against, in float64."""
    expected = case.expected.double()
    if case.truth is None or not case.expected.is_floating_point():
        return expected
    truth = case.truth.double()
    own = _largest_finite(_distance(expected, truth))
    lost = own > torch.finfo(case.expected.dtype).eps ** 0.5 * max(1.0, _largest_finite(truth))
    return expected if lost else truth


def _judge(case: Case, shared: float) -> Agreement:
    got, expected, truth = case
    assert truth is not None
    same = (got == expected) | (got.isnan() & expected.isnan())
    if bool(same.all()):
        return EXACT
    if got.dtype is torch.float64:
        allowed = ABSOLUTE * max(1.0, _largest_finite(truth)) + RELATIVE * truth.abs().nan_to_num(posinf=0.0)
    else:
        allowed = torch.full_like(truth, shared)
    difference = _distance(got.double(), truth)
    excess = (difference - allowed).masked_fill(same, float("-inf")).flatten()
    close = not bool((excess > 0).any())
    position = int((difference.masked_fill(same, 0).flatten() if close else excess).argmax())
    index = tuple(int(i) for i in torch.unravel_index(torch.tensor(position), difference.shape))
    return Agreement(
        exact=False,
        close=close,
        largest=float(difference[index]),
        index=index,
        got=float(got[index]),
        expected=float(truth[index]),
        tolerance=float(allowed[index]),
    )


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """|a - b|, zero where both are the same infinity or both NaN, infinite where only one is finite."""
    same = (a == b) | (a.isnan() & b.isnan())
    return (a - b).abs().nan_to_num(nan=float("inf"), posinf=float("inf")).masked_fill(same, 0)


def _largest_finite(tensor: Tensor) -> float:
    finite = tensor[tensor.isfinite()]
    return float(finite.abs().max()) if finite.numel() else 0.0
