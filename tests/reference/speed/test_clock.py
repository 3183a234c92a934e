"""Interleaved timing, on a clock that the passes advance."""

from __future__ import annotations

import gc

import pytest

from reference.speed import clock
from reference.speed.clock import interleave


class FakePass:
    """A pass that takes a given time and records its calls."""

    parameters, in_place = (), False

    def __init__(self, fake, name, forward, backward):
        self.fake, self.name, self.cost = fake, name, (forward, backward)

    def forward(self):
        self.fake.spend(self.name, self.cost[0])

    def backward(self):
        self.fake.spend(None, self.cost[1])

    def moved(self, saved):
        return 0, 0


class FakeClock:
    """A clock that records the order of the calls."""

    def __init__(self):
        self.now, self.calls, self.collected = 0.0, [], []

    def spend(self, name, seconds):
        self.now += seconds
        if name:
            self.calls.append(name)
            self.collected.append(gc.isenabled())

    def clock(self):
        return self.now

    def run(self, budget, **costs):
        passes = {name: FakePass(self, name, *cost) for name, cost in costs.items()}
        return interleave(passes, budget, self.clock)


def test_phases_are_timed_separately():
    found = FakeClock().run(1.0, ours=(0.01, 0.03), theirs=(0.02, 0.05))
    assert found["ours"].of("forward") == pytest.approx([0.01] * len(found["ours"].forward))
    assert found["ours"].of("backward")[0] == pytest.approx(0.03)
    assert found["theirs"].of("both")[-1] == pytest.approx(0.07)


def test_candidates_take_turns_in_alternating_order():
    fake = FakeClock()
    fake.run(1.0, a=(0.01, 0.0), b=(0.01, 0.0))
    after_warm_up = fake.calls[2 * clock.WARM_UP :]
    assert after_warm_up[:8] == list("abbaabba")
    assert after_warm_up.count("a") == after_warm_up.count("b")


def test_budget_sets_rounds_between_fewest_and_most():
    assert len(FakeClock().run(1.0, a=(0.5, 0.5))["a"].forward) == clock.FEWEST_ROUNDS
    assert len(FakeClock().run(1.0, a=(0.02, 0.02))["a"].forward) == 25
    assert len(FakeClock().run(1e9, a=(0.02, 0.02))["a"].forward) == clock.MOST_ROUNDS


def test_short_passes_are_averaged_over_many_calls():
    fake = FakeClock()
    found = fake.run(0.01, a=(1e-5, 1e-5))
    assert found["a"].forward[0] == pytest.approx(1e-5)
    rounds = len(found["a"].forward)
    assert len(fake.calls) == clock.WARM_UP + rounds * round(clock.SHORTEST / 2e-5)


def test_garbage_collection_is_off_while_timing_and_restored():
    fake = FakeClock()
    fake.run(0.1, a=(0.01, 0.0))
    assert not any(fake.collected[clock.WARM_UP :])
    assert gc.isenabled()
    gc.disable()
    try:
        fake.run(0.1, a=(0.01, 0.0))
        assert not gc.isenabled()
    finally:
        gc.enable()
