"""When tensors agree: one rule by dtype, used by the tests and by the report alike.

float64
    Element by element, |got - expected| ≤ 1e-12 · max(1, largest |expected|) + 1e-10 · |expected|. Two correct
    formulas differ by some tens of roundings of 1e-16, sums of thousands of terms by some hundreds. Where a sum
    cancels, such as the mean of inputs far from zero, inputs moved by one rounding may change it by more; twice that
    change is allowed in addition, unless it is so large that a kink was crossed: `KINK` times the largest element.

float32, bfloat16, float16
    Against the truth, which is the built-in in float64 on the same inputs: the largest error is at most twice
    the built-in's own, plus `UNITS` units in the last place of the largest element. This is the rule of
    flash-attention's tests; it asks for the built-in's accuracy, whatever that is, and no more. Both are taken
    over all upstreams of one quantity, since the built-in may be exact by luck on one of them. Second
    derivatives chain some ten roundings, and forward mode sums terms that cancel: `UNITS_OF_CHAINS`. Where a
    check looks at few upstreams, in which the built-in may be lucky: `UNITS_OF_FEW`; a gradient of group_norm was
    1.8 units beyond twice the built-in's. Layers of several ops round between them: the records of
    transformers say how many units that may add.
    A sum that cancels has few digits left, and the built-in may have kept more of them by luck. Before anything
    is said to differ, the truth is computed again on inputs moved by one rounding, up or down at random; twice
    that change is allowed in addition, since no computation from rounded inputs can be held to less. An element that
    changes by more than `KINK_IN_UNITS` crossed a kink, and is allowed that for itself alone.
    Where the built-in itself is off by more than the root of its epsilon times the largest element, either float64
    took another path (other random numbers, a comparison that fell the other way), or the built-in alone lost its
    digits, as in a sum of many equal numbers one by one. Ours is then held against the nearer of the two, without
    room for the built-in's own error.

Autocast
    The same rule; a built-in that is off by more than `NOTICEABLE` units has computed in bfloat16, whose units
    then count. Over the catalog, built-ins that compute in float32 are off by less than 6, the others by over 1000.

Finite differences
    Extrapolated central differences of a smooth function keep some ten digits in float64; 1e-7 · max(1, largest
    |expected|) + 1e-6 · |expected| leaves room for steep ones.
    Of a function that takes float32 alone they keep four digits: 2e-3 · max(1, largest |expected|).
    So does it for third derivatives, in which formulas that are equal on paper lose digits apart.

Everywhere NaN must meet NaN and infinity the same infinity; where a built-in overflows in its short dtype
and the truth is finite, the finite answer counts as right, and so does infinity where the truth is too large.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "UNITS",
    "UNITS_OF_CHAINS",
    "UNITS_OF_FEW",
    "Agreement",
    "Case",
    "Tolerance",
    "agreement",
    "by_hand",
    "same_bits",
    "unit_in_the_last_place",
]

RELATIVE = 1e-10
ABSOLUTE = 1e-12
NUMERICAL_RELATIVE = 1e-6
NUMERICAL_ABSOLUTE = 1e-7
NUMERICAL_SHORT = 2e-3
UNITS = 1
UNITS_OF_CHAINS = 4
UNITS_OF_FEW = 2
TIMES_BUILTIN = 2
NOTICEABLE = 16
KINK = 1e-6
KINK_IN_UNITS = 1024


class Tolerance(NamedTuple):
    """|got - expected| ≤ atol + rtol · |expected|, as in `torch.testing.assert_close`."""

    rtol: float
    atol: float


def by_hand(
    rtol: float | Mapping[torch.dtype, float] | None, atol: float | Mapping[torch.dtype, float] | None
) -> dict[torch.dtype, Tolerance]:
    """The tolerances that a user sets, by dtype; without any the rules above decide.

    Raises:
        ValueError: if only one of the two is given, or for other dtypes than the other.
    """
    named = {frozenset(tolerance) for tolerance in (rtol, atol) if isinstance(tolerance, Mapping)}
    if (rtol is None) != (atol is None) or len(named) > 1:
        raise ValueError(
            f"compare: expected rtol and atol together, and for the same dtypes, got {rtol=} and {atol=}"
        )
    if rtol is None or atol is None:
        return {}
    dtypes = named.pop() if named else (torch.float64, torch.float32, torch.bfloat16, torch.float16)
    return {dtype: Tolerance(_of(rtol, dtype), _of(atol, dtype)) for dtype in dtypes}


def _of(tolerance: float | Mapping[torch.dtype, float], dtype: torch.dtype) -> float:
    return tolerance[dtype] if isinstance(tolerance, Mapping) else tolerance


class Case(NamedTuple):
    """One tensor of the custom side, the built-in's, and the built-in's in float64 where there is one.

    ``moved`` are the built-in's in float64 on inputs that are off by one rounding of their own dtype.
    """

    got: Tensor
    expected: Tensor
    truth: Tensor | None = None
    moved: Sequence[Tensor] = ()


@dataclass(frozen=True)
class Agreement:
    """The comparison of one case's tensors.

    Attributes:
        exact: whether they are equal bit for bit (any NaN equals any NaN).
        close: whether they agree within the tolerance.
        largest: the largest difference from what was expected; infinite where one side is not finite.
        index: where it is, None for exact agreement.
        got: the custom value there.
        expected: the expected value there.
        tolerance: the difference that was allowed there.
        relative: the difference there, relative to what was expected.
        ulps: the difference there, in units in the last place of what was expected.
        error: our largest error against float64 in all cases of a short dtype, in units in the last place of the
            largest element, or of 1 where that is larger.
        builtin_error: the built-in's, in the same units, but for cases in which it is too far from float64 to be
            measured by it.
    """

    exact: bool
    close: bool
    largest: float = 0.0
    index: tuple[int, ...] | None = None
    got: float = 0.0
    expected: float = 0.0
    tolerance: float = 0.0
    relative: float = 0.0
    ulps: float = 0.0
    error: float = 0.0
    builtin_error: float = 0.0


EXACT = Agreement(exact=True, close=True)


def agreement(
    cases: Sequence[Case],
    units: int = UNITS,
    numerical: bool = False,
    autocast: bool = False,
    by_hand: Tolerance | None = None,
) -> list[Agreement]:
    """Judges the cases of one quantity, which share one dtype, together.

    Args:
        cases: got, expected and truth, under each upstream.
        units: how many units in the last place of the largest element are allowed in a short dtype.
        numerical: whether what is expected was found by finite differences, which lose digits.
        autocast: whether the built-in may have computed in bfloat16 whatever the dtype of its result.
        by_hand: a tolerance about the built-in's own values, in place of the rule.
    """
    alike = [same_bits(case.got, case.expected) for case in cases]
    short = cases[0].got.is_floating_point() and cases[0].got.dtype is not torch.float64
    if all(alike) and not (short and any(case.truth is not None for case in cases)):
        return [EXACT] * len(cases)
    if by_hand is not None:
        held = [case._replace(truth=case.expected.double()) for case in cases]
        return [EXACT if same else _judge(case, *by_hand) for case, same in zip(held, alike, strict=True)]
    cases = [_within_range(case) for case in cases]
    scale = max([1.0, *(_largest_finite(case.truth.double()) for case in cases if case.truth is not None)])
    judged = [_held_against_truth(case, scale, autocast) for case in cases]
    allowed, ours, own = _errors(judged, units, autocast) if short else (0.0, 0.0, 0.0)
    shaken = [TIMES_BUILTIN * _shaken(case, scale) for case in cases]
    if short and numerical and all(case.truth is None for case in cases):
        allowed = NUMERICAL_SHORT * max([1.0, *(_largest_finite(case.expected.double()) for case in cases)])
    return [
        replace(
            EXACT if same else _judge(case, *_allowed(case, allowed, numerical), extra),
            error=ours,
            builtin_error=own,
        )
        for case, same, extra in zip(judged, alike, shaken, strict=True)
    ]


def _within_range(case: Case) -> Case:
    """The case with infinities for a truth that its dtype does not hold, whose size says nothing about others."""
    if case.truth is None or not case.got.is_floating_point():
        return case
    held = case.truth.to(case.got.dtype).to(case.truth.dtype)
    return case._replace(truth=torch.where(held.isinf(), held, case.truth))


def _errors(cases: Sequence[Case], units: int, autocast: bool) -> tuple[float, float, float]:
    """The error that is allowed in a short dtype; then, in units, our largest error and the built-in's."""
    info = torch.finfo(cases[0].got.dtype)
    truths = [case.truth for case in cases if case.truth is not None]
    ours, own = (
        max(_largest_finite(_distance(side.double(), truth)) for side, truth in zip(sides, truths, strict=True))
        for sides in ([case.got for case in cases], [case.expected for case in cases])
    )
    scale = max(map(_largest_finite, truths))
    eps = info.eps
    if autocast and own > NOTICEABLE * eps * scale:
        eps = max(eps, torch.finfo(torch.bfloat16).eps)
    allowed = TIMES_BUILTIN * own + units * (eps * scale + info.smallest_normal)
    unit = info.eps * max(1.0, scale)  # a tensor that should be all zeros has no unit of its own
    return allowed, ours / unit, own / unit


def _shaken(case: Case, scale: float) -> Tensor | float:
    """By how much the built-in changes where inputs are moved by one rounding.

    An element that changes so much that a kink was crossed says nothing about the others.
    """
    if not case.moved:
        return 0.0
    truth = (case.expected if case.truth is None else case.truth).double()
    changes = torch.stack([_distance(m.double(), truth) for m in case.moved]).amax(0)
    smooth = changes <= max(KINK, KINK_IN_UNITS * torch.finfo(case.got.dtype).eps) * scale
    shared = _largest_finite(changes[smooth])
    crossing = 0.0 if case.got.dtype is torch.float64 else changes.nan_to_num(posinf=0.0)
    return torch.where(smooth, shared, crossing)


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one shape are equal, any NaN to any other."""
    return torch.equal(a, b) or bool(((a == b) | (a.isnan() & b.isnan())).all())


def unit_in_the_last_place(value: float, dtype: torch.dtype) -> float:
    """The distance from a value to the next one that a dtype can tell from it."""
    if not dtype.is_floating_point or not math.isfinite(value):
        return 1.0
    info = torch.finfo(dtype)
    return info.eps * 2.0 ** math.floor(math.log2(max(abs(value), info.smallest_normal)))


def _held_against_truth(case: Case, scale: float, autocast: bool) -> Case:
    """The case with a truth in float64; the scale is that of all cases, of which one may cancel to nothing.

    Where the built-in is too far from float64 to be measured by it, the one of the two that is nearer stands for both.
    """
    got, expected = case.got.double(), case.expected.double()
    if case.truth is None or not case.expected.is_floating_point():
        return case._replace(truth=expected)
    truth = case.truth.double()
    own = _largest_finite(_distance(expected, truth))
    dtype = torch.bfloat16 if autocast else case.expected.dtype
    if own <= torch.finfo(dtype).eps ** 0.5 * scale:
        return case._replace(truth=truth)
    from_truth, from_builtin = (_largest_finite(_distance(got, one)) for one in (truth, expected))
    nearer = truth if from_truth < from_builtin else expected
    return case._replace(expected=nearer.to(case.expected.dtype), truth=nearer)


def _allowed(case: Case, shared: float, numerical: bool) -> Tolerance:
    """The tolerance by the rules; ``shared`` is that of all elements, in float64 beside their own."""
    assert case.truth is not None
    if case.got.dtype is not torch.float64:
        return Tolerance(0.0, shared)
    rtol, atol = (NUMERICAL_RELATIVE, NUMERICAL_ABSOLUTE) if numerical else (RELATIVE, ABSOLUTE)
    return Tolerance(rtol, atol * max(1.0, _largest_finite(case.truth)) + shared)


def _judge(case: Case, rtol: float, atol: float, extra: Tensor | float = 0.0) -> Agreement:
    got, expected, truth, _ = case
    assert truth is not None
    same = (got == expected) | (got.isnan() & expected.isnan()) | (got == truth.to(got.dtype))
    allowed = atol + rtol * truth.abs().nan_to_num(posinf=0.0) + extra
    difference = _distance(got.double(), truth)
    excess = (difference - allowed).masked_fill(same, float("-inf")).flatten()
    close = not bool((excess > 0).any())
    position = int((difference.masked_fill(same, 0).flatten() if close else excess).argmax())
    index: tuple[int, ...] = ()
    for size in reversed(difference.shape):
        index, position = (position % size, *index), position // size
    largest, wanted = float(difference[index]), float(truth[index])
    return Agreement(
        exact=False,
        close=close,
        largest=largest,
        index=index,
        got=float(got[index]),
        expected=wanted,
        tolerance=float(allowed[index]),
        relative=largest / abs(wanted) if wanted else float("inf"),
        ulps=largest / unit_in_the_last_place(wanted, got.dtype),
    )


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """|a - b|, zero where both are the same infinity or both NaN, infinite where only one is finite."""
    difference = (a - b).abs()
    if bool(difference.isfinite().all()):
        return difference
    same = (a == b) | (a.isnan() & b.isnan())
    return difference.nan_to_num(nan=float("inf"), posinf=float("inf")).masked_fill(same, 0)


def _largest_finite(tensor: Tensor) -> float:
    if not tensor.numel():
        return 0.0
    largest = float(tensor.abs().max())
    if math.isfinite(largest):
        return largest
    finite = tensor[tensor.isfinite()]
    return float(finite.abs().max()) if finite.numel() else 0.0
