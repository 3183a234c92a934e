"""Interleaving, on a clock that the passes themselves move."""

from __future__ import annotations

import gc

import pytest

from reference.speed import clock
from reference.speed.clock import interleave


class Tired:
    """A pass that takes a given time, and says when it was called."""

    parameters, in_place = (), False

    def __init__(self, world, name, forward, backward):
        self.world, self.name, self.cost = world, name, (forward, backward)

    def forward(self):
        self.world.spend(self.name, self.cost[0])

    def backward(self):
        self.world.spend(None, self.cost[1])

    def moved(self, saved):
        return 0, 0


class World:
    """A clock, and the order of the calls."""

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
        passes = {name: Tired(self, name, *cost) for name, cost in costs.items()}
        return interleave(passes, budget, self.clock)


def test_each_phase_is_timed_by_itself():
    found = World().run(1.0, ours=(0.01, 0.03), theirs=(0.02, 0.05))
    assert found["ours"].of("forward") == pytest.approx([0.01] * len(found["ours"].forward))
    assert found["ours"].of("backward")[0] == pytest.approx(0.03)
    assert found["theirs"].of("both")[-1] == pytest.approx(0.07)


def test_candidates_take_turns_in_alternating_order():
    world = World()
    world.run(1.0, a=(0.01, 0.0), b=(0.01, 0.0))
    after_warm_up = world.calls[2 * clock.WARM_UP :]
    assert after_warm_up[:8] == list("abbaabba")
    assert after_warm_up.count("a") == after_warm_up.count("b")


def test_the_budget_ends_it_but_not_before_the_fewest_rounds():
    assert len(World().run(1.0, a=(0.5, 0.5))["a"].forward) == clock.FEWEST_ROUNDS
    assert len(World().run(1.0, a=(0.02, 0.02))["a"].forward) == 25
    assert len(World().run(1e9, a=(0.02, 0.02))["a"].forward) == clock.MOST_ROUNDS


def test_short_passes_are_called_many_times_and_their_mean_is_kept():
    world = World()
    found = world.run(0.01, a=(1e-5, 1e-5))
    assert found["a"].forward[0] == pytest.approx(1e-5)
    rounds = len(found["a"].forward)
    assert len(world.calls) == clock.WARM_UP + rounds * round(clock.SHORTEST / 2e-5)


def test_nothing_is_collected_meanwhile_and_the_collector_is_left_as_it_was():
    world = World()
    world.run(0.1, a=(0.01, 0.0))
    assert not any(world.collected[clock.WARM_UP :])
    assert gc.isenabled()
    gc.disable()
    try:
        world.run(0.1, a=(0.01, 0.0))
        assert not gc.isenabled()
    finally:
        gc.enable()
