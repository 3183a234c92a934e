"""Timing of calls."""

from __future__ import annotations

import time

from torch import nn

from experiments.metrics.timing import nanoseconds, seconds_each


def test_calls_alternate_and_the_shortest_time_counts(monkeypatch):
    now, made = 0.0, []

    def call(name, *seconds):
        def wait():
            nonlocal now
            made.append(name)
            now += seconds[min(made.count(name), len(seconds)) - 1]

        return wait

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    assert seconds_each(call("a", 9.0, 3.0, 1.0, 2.0), call("b", 4.0), budget=0.0, least=3) == [1.0, 4.0]
    assert made == ["a", "b"] * 4  # one round to warm up


def test_forward_and_backward_take_longer_than_forward():
    forward, both = nanoseconds(nn.Tanh())
    assert 0 < forward < both
