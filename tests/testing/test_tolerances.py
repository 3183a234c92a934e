"""Tolerances: errors in a short dtype against float64, and tolerances set by hand."""

from __future__ import annotations

import pytest
import torch

from scratchnet.testing.tolerances import Case, Tolerance, agreement, by_hand

UNIT = torch.finfo(torch.float32).eps


def case(ours, builtin):
    """Both sides in float32, so many units away from a truth of two."""
    truth = torch.full((3,), 2.0, dtype=torch.float64)
    return Case(*((truth * (1 + units * UNIT)).float() for units in (ours, builtin)), truth)


@pytest.mark.parametrize(("ours", "builtin", "close"), [(0, 0, True), (1, 1, True), (2, 1, True), (4, 1, False)])
def test_errors_are_counted_in_units_of_the_largest_element(ours, builtin, close):
    (found,) = agreement([case(ours, builtin)])
    assert (found.error, found.builtin_error) == (ours, builtin)
    assert found.exact == (ours == builtin)
    assert found.close == close


def test_errors_are_the_largest_under_any_upstream():
    found = agreement([case(1, 0), case(0, 3)])
    assert {(f.error, f.builtin_error) for f in found} == {(1, 3)}


def test_a_truth_beyond_the_dtype_allows_others_no_more():
    truth = torch.tensor([1e280, 2.0], dtype=torch.float64)
    builtin = truth.float()
    (found,) = agreement([Case(builtin + torch.tensor([0, 8 * UNIT]), builtin, truth)])
    assert not found.close
    assert found.index == (1,)


def test_what_should_be_zero_is_counted_in_units_of_one():
    zero, tiny = torch.zeros(3), torch.full((3,), UNIT)
    (found,) = agreement([Case(tiny, tiny / 2, zero.double())])
    assert (found.error, found.builtin_error) == (1, 0.5)


def test_in_float64_the_builtin_is_the_truth():
    (found,) = agreement([Case(*(torch.ones(3, dtype=torch.float64) for _ in range(3)))])
    assert (found.error, found.builtin_error) == (0, 0)


@pytest.mark.parametrize(("error", "close"), [(0.0, True), (0.01, False)])
def test_a_sum_that_cancels_is_held_against_the_truth_though_the_builtin_left_it(error, close):
    large = torch.tensor([700.0])
    zero, off = torch.zeros(1), torch.full((1,), 1e-3)
    cases = [Case(large, large, large.double()), Case(zero + error, off, zero.double())]
    assert agreement(cases)[1].close == close


def test_where_float64_took_another_path_the_builtin_is_the_truth():
    other = torch.tensor([1.0])
    assert agreement([Case(other, other, other.double() + 1)])[0].close


@pytest.mark.parametrize(("units", "close"), [(0, True), (1, True), (3, False)])
def test_where_the_builtin_alone_lost_its_digits_ours_is_held_against_float64(units, close):
    lost = case(units, 2**13)
    assert agreement([lost])[0].close == close
    assert [one.close for one in agreement([lost, case(3, 0)])] == [close, False]


def test_a_tolerance_set_by_hand_stands_in_place_of_the_rule():
    numbers = by_hand(1e-3, 1e-6)
    assert numbers[torch.float64] == numbers[torch.bfloat16] == (1e-3, 1e-6)
    assert by_hand({torch.float32: 1e-3}, 0.0) == {torch.float32: (1e-3, 0.0)}
    assert by_hand(None, None) == {}
    wanted = torch.tensor([100.0, 0.0], dtype=torch.float64)
    for off, close in ((0.09, True), (0.11, False)):
        (found,) = agreement([Case(wanted + torch.tensor([off, 0.0]), wanted)], by_hand=Tolerance(1e-3, 1e-6))
        assert found.close == close
        assert found.tolerance == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize(("rtol", "atol"), [(1e-3, None), ({torch.float64: 1e-3}, {torch.float32: 0.0})])
def test_tolerances_come_in_pairs(rtol, atol):
    with pytest.raises(ValueError, match="expected rtol and atol together"):
        by_hand(rtol, atol)
