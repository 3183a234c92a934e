"""Measures one workload: every candidate's times, what each side keeps and holds, and the floor under both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from reference.catalog import RECORDS
from reference.check import check
from reference.speed.clock import PHASES, Times, interleave
from reference.speed.machine import Machine
from reference.speed.memory import peak_bytes, saved_bytes
from reference.speed.statistics import Spread, ratios, spread
from reference.speed.workload import DEFAULT, Candidate, Pass, Workload

__all__ = ["Measurement", "Memory", "Refused", "measure", "measure_memory", "pairs"]


class Refused(Exception):
    """An op whose comparison fails is not timed: a wrong result can be had in no time."""


@dataclass(frozen=True)
class Memory:
    """Bytes of one side: kept for the backward in all, kept beyond inputs and outputs, and held at most."""

    saved: int
    beyond: int
    peak: int


@dataclass(frozen=True)
class Measurement:
    """What was measured of one workload.

    Attributes:
        op: its op or step.
        size: its size, in words.
        times: of every candidate, round by round.
        memory: of both sides, in their default way.
        floor: seconds below which no implementation gets on this machine, by phase.
    """

    op: str
    size: str
    times: dict[Candidate, Times]
    memory: dict[str, Memory]
    floor: dict[str, float]

    def seconds(self, candidate: Candidate, phase: str = "both") -> Spread:
        """How long a candidate takes."""
        return spread(self.times[candidate].of(phase))

    def ratio(self, ours: Candidate, theirs: Candidate, phase: str = "both") -> Spread:
        """Ours over theirs, pair by pair: below 1 we are faster."""
        return ratios(self.times[ours].of(phase), self.times[theirs].of(phase))

    def best(self, side: str, compiled: bool = False) -> Candidate:
        """The layout in which a side is fastest, forward and backward."""
        chosen = [c for c in self.times if c.side == side and c.compiled == compiled]
        return min(chosen, key=lambda candidate: self.seconds(candidate).middle)

    def phases(self) -> Sequence[str]:
        """The phases there are: an op without gradients has no backward, nor both."""
        has_backward = any(self.floor["backward"] > 0 and t.backward for t in self.times.values())
        return PHASES if has_backward else PHASES[:1]

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "op": self.op,
            "size": self.size,
            "floor": self.floor,
            "memory": {side: vars(m) for side, m in self.memory.items()},
            "seconds": {
                str(candidate): {phase: self.seconds(candidate, phase)._asdict() for phase in self.phases()}
                for candidate in self.times
            },
            "ratios": {
                how: {phase: self.ratio(ours, theirs, phase)._asdict() for phase in self.phases()}
                for how, ours, theirs in pairs(self)
            },
        }


def pairs(found: Measurement) -> list[tuple[str, Candidate, Candidate]]:
    """The candidates that are held against each other, under the name of the way in which both run."""
    return [
        (str(c).removeprefix("custom").strip() or "default", c, Candidate("builtin", c.channels_last, c.compiled))
        for c in found.times
        if c.side == "custom"
    ]


def measure(workload: Workload, machine: Machine, *, compiled: bool = False, budget: float = 1.0) -> Measurement:
    """Times a workload, once both sides are known to agree.

    Args:
        workload: what to time.
        machine: whose limits make the floor.
        compiled: whether to time both sides under `torch.compile` as well.
        budget: seconds to spend on the timing.

    Raises:
        Refused: if a comparison fails.
    """
    _agree(workload)
    ways = [(last, False) for last in ((False, True) if workload.layouts else (False,))]
    if compiled and workload.compiles:
        ways.append((False, True))
        torch.compiler.reset()  # it gives up on a function after so many versions, and runs the rest as they are
    candidates = [Candidate(side, *way) for way in ways for side in ("custom", "builtin")]
    passes = {candidate: workload.prepare(candidate) for candidate in candidates}
    memory: dict[str, Memory] = {c.side: Memory(*saved_bytes(passes[c]), peak_bytes(passes[c])) for c in DEFAULT}
    floor = _floor(workload, passes[DEFAULT[1]], min(m.saved for m in memory.values()), machine)
    return Measurement(workload.op, workload.size, interleave(passes, budget), memory, floor)


def measure_memory(workload: Workload) -> Measurement:
    """What each side keeps for the backward, without timing anything."""
    memory: dict[str, Memory] = {c.side: Memory(*saved_bytes(workload.prepare(c)), 0) for c in DEFAULT}
    return Measurement(workload.op, workload.size, {}, memory, {})


def _agree(workload: Workload) -> None:
    for op in workload.relies_on:
        failed = _failure(op)
        if failed:
            raise Refused(f"{workload} is not timed, since {failed}")
    comparison = workload.compare()
    if not comparison.ok:
        quantities = ", ".join(row.quantity for row in comparison.failures) or "nothing could be compared"
        raise Refused(f"{workload} is not timed, since both sides differ at this size: {quantities}")


@cache
def _failure(op: str) -> str:
    """The first way in which an op's samples disagree with the built-in, in float32; empty if none does."""
    for comparison in check(RECORDS[op], torch.float32).comparisons:
        if not comparison.ok:
            quantities = ", ".join(row.quantity for row in comparison.failures)
            return f"{comparison.name} differs from the built-in: {quantities}"
    return ""


def _floor(workload: Workload, builtin: Pass, saved: int, machine: Machine) -> dict[str, float]:
    forward, backward = workload.flops or _counted(builtin)
    moved = builtin.moved(saved)
    fresh = not builtin.in_place
    floor = {
        "forward": machine.floor(forward, moved[0], fresh),
        "backward": machine.floor(backward, moved[1], fresh),
    }
    return floor | {"both": sum(floor.values())}


def _counted(run: Pass) -> tuple[float, float]:
    """Floating-point operations of the products and convolutions in a pass."""
    with FlopCounterMode(display=False) as forward:
        run.forward()
    with FlopCounterMode(display=False) as backward:
        run.backward()
    return forward.get_total_flops(), backward.get_total_flops()
