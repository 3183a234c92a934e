"""Percentiles, paired ratios and geometric means."""

from __future__ import annotations

import pytest

from reference.speed.statistics import differences, geometric_mean, percentile, ratios, spread


def test_percentiles_are_interpolated_linearly():
    values = [5.0, 1.0, 4.0, 2.0, 3.0, 6.0]
    assert [percentile(values, p) for p in (0, 20, 50, 80, 100)] == [1.0, 2.0, 3.5, 5.0, 6.0]
    assert percentile([7.0], 80) == 7.0
    assert spread(values) == (2.0, 3.5, 5.0)


def test_paired_ratios_cancel_disturbances_of_both_sides():
    ours, theirs = [1.0, 30.0, 2.0, 1.5], [2.0, 60.0, 4.0, 3.0]
    assert ratios(ours, theirs) == (0.5, 0.5, 0.5)
    # A ratio of medians is wrong if only some rounds are disturbed.
    assert ratios([1.0, 9.0, 9.0], [2.0, 3.0, 18.0]).middle == 0.5
    assert differences([3.0, 5.0, 9.0], [1.0, 4.0, 2.0]).middle == 2.0


def test_twice_as_fast_and_half_as_fast_cancel():
    assert geometric_mean([0.25, 4.0, 1.0]) == pytest.approx(1.0)
    assert geometric_mean(iter([2.0, 8.0])) == pytest.approx(4.0)


def test_empty_or_unequal_inputs_raise():
    with pytest.raises(ValueError, match="at least one value"):
        percentile([], 50)
    with pytest.raises(ValueError, match="at least one value"):
        geometric_mean([])
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0, 2.0], [1.0])
