"""All that a run found, and the lines that every format shows of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from reference.speed.machine import Machine
from reference.speed.measure import Measurement, pairs
from reference.speed.statistics import Spread
from reference.speed.targets import Verdict

__all__ = ["HEADINGS", "TARGET_HEADINGS", "Line", "Results", "about", "lines", "target_cells"]

HEADINGS = ("op", "size", "way", "pass", "ours", "built-in", "ratio", "floor", "reached", "kept", "peak")
TARGET_HEADINGS = ("work", "at most", "measured", "verdict", "of")


@dataclass(frozen=True)
class Results:
    """A run: the machine, what was measured on it, what was refused, and the targets if they were asked for."""

    machine: Machine
    measurements: Sequence[Measurement]
    refusals: Sequence[str] = ()
    verdicts: Sequence[Verdict] = ()


class Line(NamedTuple):
    """One line of the table, as numbers.

    Attributes:
        op: the op or step.
        size: its size.
        way: how both sides ran: default, channels_last, compiled.
        phase: forward, backward or both.
        ours: seconds.
        theirs: seconds.
        ratio: ours over theirs, pair by pair.
        floor: seconds.
        kept: bytes kept for the backward, ours over theirs; None where theirs keeps none, or on another line.
        peak: bytes held at most, ours over theirs; None on another line.
    """

    op: str
    size: str
    way: str
    phase: str
    ours: Spread
    theirs: Spread
    ratio: Spread
    floor: float
    kept: float | None
    peak: float | None

    def cells(self) -> tuple[str, ...]:
        """The line in words, in the order of the headings."""
        return (
            self.op,
            self.size,
            self.way,
            self.phase,
            time(self.ours.middle),
            time(self.theirs.middle),
            f"{self.ratio.middle:.2f} ({self.ratio.low:.2f} to {self.ratio.high:.2f})",
            time(self.floor),
            f"{self.floor / self.ours.middle:.0%}",
            "" if self.kept is None else f"{self.kept:.2f}",
            "" if self.peak is None else f"{self.peak:.2f}",
        )


def lines(found: Sequence[Measurement]) -> Iterator[Line]:
    """Every measurement, in every way and phase; memory stands on the last line of the default way."""
    for m in found:
        ours, theirs = (m.memory[side] for side in ("custom", "builtin"))
        kept, peak = (a / b if b else None for a, b in ((ours.saved, theirs.saved), (ours.peak, theirs.peak)))
        for way, custom, builtin in pairs(m):
            for phase in m.phases():
                with_memory = way == "default" and phase == m.phases()[-1]
                yield Line(
                    m.op,
                    m.size,
                    way,
                    phase,
                    m.seconds(custom, phase),
                    m.seconds(builtin, phase),
                    m.ratio(custom, builtin, phase),
                    m.floor[phase],
                    kept if with_memory else None,
                    peak if with_memory else None,
                )


def time(seconds: float) -> str:
    """Seconds with a unit that suits them."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def about(machine: Machine) -> list[str]:
    """The machine in sentences: what it is, and what was measured of it."""
    what = ", ".join(f"{name} {value}" for name, value in machine.description.items())
    large = max(machine.warm)
    return [
        what,
        f"matrix product {machine.flops / 1e9:.0f} GFLOP/s; copying {large >> 20} MiB reads and writes "
        f"{machine.warm[large] / 1e9:.1f} GB/s into memory in use, {machine.fresh[large] / 1e9:.1f} GB/s into new "
        "memory",
    ]


def target_cells(verdict: Verdict) -> tuple[str, ...]:
    """A row of the targets in words."""
    target = verdict.target
    figure = "" if verdict.figure is None else f"{verdict.figure:.2f}{target.unit}"
    return target.what, f"{target.limit:.2f}{target.unit}", figure, verdict.word, verdict.note
