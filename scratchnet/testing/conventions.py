"""Tells a convention from a mistake, where a function has several values or slopes, or none."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.testing.comparison import Finding
from scratchnet.testing.subject import as_real

__all__ = ["is_convention"]

STEP = 1e-6
SAMPLES = 64
# Slopes to both sides that differ by less belong to one smooth function.
KINK = 1e-3


def is_convention(finding: Finding, inputs: Sequence[Tensor], tolerance: float) -> bool:
    """Whether a disagreement on special inputs is a matter of taste.

    Beside inputs that are not finite, it is which of NaN, an infinity and a number a formula makes of them. At a kink,
    a jump or a tie it is everything between the values that the built-in has beside that point.
    """
    assert finding.got is not None
    assert finding.expected is not None
    got, expected = finding.got.double(), (finding.expected if finding.truth is None else finding.truth).double()
    wrong = ~torch.isclose(got, expected, rtol=0, atol=tolerance, equal_nan=True)
    if not all(bool(x.isfinite().all()) for x in inputs):
        return bool((~got.isfinite() | ~expected.isfinite())[wrong].all())
    beside = [finding.moved(seed, STEP) for seed in range(SAMPLES)]
    values = torch.stack([as_real(x).double() for x in beside if x is not None] or [expected])
    low, high = values.amin(0), values.amax(0)
    size = 1 + expected.abs()
    between = (got >= low - 10 * STEP * size) & (got <= high + 10 * STEP * size) & (high - low > KINK * size)
    return bool(between[wrong].all())
