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

    Where inputs are not finite, it is what a formula makes of these elements, and which of NaN, an infinity and a
    number of the others. Where the built-in has NaN, it is anything. At a kink, a jump or a tie it is what lies
    between the values that the built-in has beside it, and adds up to what they add up to, where that is the same to
    all sides: equal elements share a gradient, or one takes it; each taking all of it is wrong.
    """
    assert finding.got is not None
    assert finding.expected is not None
    got, expected = finding.got.double(), (finding.expected if finding.truth is None else finding.truth).double()
    # The tolerance is that of the worst element. Beside one that is not finite, the gradient of causal attention in
    # bfloat16 was off by 1.8 epsilons.
    rounding = 2 * torch.finfo(finding.got.dtype).eps
    wrong = ~torch.isclose(got, expected, rtol=rounding, atol=tolerance, equal_nan=True)
    odd = [~as_real(x.detach()).isfinite() for x in inputs]
    if any(bool(x.any()) for x in odd):
        wrong &= got.isfinite() & expected.isfinite()
        for x in odd:
            wrong &= ~x if x.shape == got.shape else True
    wrong &= ~expected.isnan()
    return not bool(wrong.any()) or bool(_between(finding, got, expected, rounding)[wrong].all())


def _between(finding: Finding, got: Tensor, expected: Tensor, rounding: float) -> Tensor:
    """Which elements are between the values that the built-in has to the sides of a kink, a jump or a tie.

    None of them is if these values add up to the same on all sides, as where equal elements compete for a gradient,
    and the elements add up to something else.
    """
    beside = [finding.moved(seed, STEP) for seed in range(SAMPLES)]
    values = torch.stack([as_real(x).double() for x in beside if x is not None] or [expected])
    low, high = values.amin(0), values.amax(0)
    size = 1 + expected.abs()
    slack = 10 * STEP * size
    sums = values.reshape(len(values), -1).sum(1)
    apart = max(KINK, rounding) * float(1 + got.abs().sum())
    fixed = bool(sums.max() - sums.min() <= apart)
    if fixed and abs(float(got.sum() - sums.mean())) > apart:
        return torch.zeros_like(got, dtype=torch.bool)
    return (got >= low - slack) & (got <= high + slack) & (high - low > KINK * size)
