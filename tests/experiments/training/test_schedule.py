"""The learning rate over a training."""

from __future__ import annotations

import pytest

from experiments.training.schedule import SCHEDULES, cosine


def test_cosine_rises_for_a_tenth_and_falls_to_zero():
    rates = [cosine(step / 100) for step in range(101)]
    assert rates[:11] == pytest.approx([step / 10 for step in range(11)])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == 0


def test_constant_and_step_schedules():
    assert {SCHEDULES["constant"](step / 10) for step in range(11)} == {1.0}
    assert [SCHEDULES["step"](step / 10) for step in range(11)] == pytest.approx([1] * 5 + [0.1] * 3 + [0.01] * 3)
