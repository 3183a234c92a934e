"""Measures one workload: times and memory of every candidate, and the floor."""

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
from reference.speed.workload import DEFAULT, Candidate, InKernels, Pass, Workload

__all__ = ["Measurement", "Memory", "Refused", "measure", "pairs"]


class Refused(Exception):
    """Raised for an op that is not timed because its comparison fails."""


@dataclass(frozen=True)
class Memory:
    """Bytes of one side: saved for the backward, saved beyond inputs and outputs, and held at most."""

    saved: int
    beyond: int
    peak: int


@dataclass(frozen=True)
class Measurement:
    """Measurements of one workload.

    Attributes:
        op: The op or training step.
        size: Its size, in words.
        times: Seconds of every candidate in each round.
        memory: Memory of both sides in the default mode.
        floor: A lower bound in seconds on this machine, by phase.
    """

    op: str
    size: str
    times: dict[Candidate, Times]
    memory: dict[str, Memory]
    floor: dict[str, float]

    def seconds(self, candidate: Candidate, phase: str = "both") -> Spread:
        """Returns the time of a candidate."""
        return spread(self.times[candidate].of(phase))

    def ratio(self, ours: Candidate, theirs: Candidate, phase: str = "both") -> Spread:
        """Returns ours over theirs within each pair; below 1 ours is faster."""
        return ratios(self.times[ours].of(phase), self.times[theirs].of(phase))

    def best(self, side: str, compiled: bool = False) -> Candidate:
        """Returns a side's fastest candidate, forward and backward."""
        chosen = [c for c in self.times if c.side == side and c.compiled == compiled and not c.kernels]
        return min(chosen, key=lambda candidate: self.seconds(candidate).middle)

    def phases(self) -> Sequence[str]:
        """Returns the phases; an op without gradients has only the forward pass."""
        has_backward = any(self.floor["backward"] > 0 and t.backward for t in self.times.values())
        return PHASES if has_backward else PHASES[:1]

    def to_dict(self) -> dict[str, Any]:
        """Returns the measurement as plain values."""
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
                mode: {phase: self.ratio(ours, theirs, phase)._asdict() for phase in self.phases()}
                for mode, ours, theirs in pairs(self)
            },
        }


def pairs(found: Measurement) -> list[tuple[str, Candidate, Candidate]]:
    """Returns the pairs of candidates to compare, each with the name of its mode."""
    return [
        (str(c).removeprefix("custom").strip() or "default", c, Candidate("builtin", c.channels_last, c.compiled))
        for c in found.times
        if c.side == "custom"
    ]


def measure(
    workload: Workload, machine: Machine, *, compiled: bool = False, in_kernels: bool = False, budget: float = 1.0
) -> Measurement:
    """Times a workload after checking that both sides agree.

    Args:
        workload: The workload to time.
        machine: The machine whose limits set the floor.
        compiled: Whether to time both sides under `torch.compile` too.
        in_kernels: Whether to time ours with compiled kernels too.
        budget: Seconds to spend on the timing.

    Raises:
        Refused: If a comparison fails.
    """
    _agree(workload)
    modes = [(last, False) for last in ((False, True) if workload.layouts else (False,))]
    if compiled and workload.compiles:
        modes.append((False, True))
        torch.compiler.reset()  # after too many recompilations of a function it falls back to eager code
    candidates = [Candidate(side, *mode) for mode in modes for side in ("custom", "builtin")]
    passes = {candidate: workload.prepare(candidate) for candidate in candidates}
    if in_kernels:
        candidate = Candidate("custom", kernels=True)
        passes[candidate] = InKernels(workload.prepare(candidate))
    memory: dict[str, Memory] = {c.side: Memory(*saved_bytes(passes[c]), peak_bytes(passes[c])) for c in DEFAULT}
    floor = _floor(workload, passes[DEFAULT[1]], min(m.saved for m in memory.values()), machine)
    return Measurement(workload.op, workload.size, interleave(passes, budget), memory, floor)


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
    """Describes the first float32 sample that disagrees with the built-in; empty if all agree."""
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
    """Returns the floating-point operations of matrix products and convolutions, forward and backward."""
    with FlopCounterMode(display=False) as forward:
        run.forward()
    with FlopCounterMode(display=False) as backward:
        run.backward()
    return forward.get_total_flops(), backward.get_total_flops()
