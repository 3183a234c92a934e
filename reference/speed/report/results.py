"""Results of a run, and the rows that every report format shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from reference.speed.machine import Machine
from reference.speed.measure import Measurement, pairs
from reference.speed.scaling import Growth
from reference.speed.statistics import Spread
from reference.speed.targets import Verdict

__all__ = [
    "GROWTH_HEADINGS",
    "HEADINGS",
    "TARGET_HEADINGS",
    "Line",
    "Results",
    "about",
    "growth_cells",
    "lines",
    "target_cells",
    "time",
]

HEADINGS = ("op", "size", "mode", "pass", "ours", "built-in", "ratio", "floor", "floor / ours", "saved", "peak")
GROWTH_HEADINGS = ("op", "grows", "sizes", "ratio at each", "exponent of ours", "of the built-in's")
TARGET_HEADINGS = ("work", "at most", "measured", "verdict", "workloads")


@dataclass(frozen=True)
class Results:
    """The machine, its measurements, refused workloads, verdicts on the targets, and growth with sizes."""

    machine: Machine
    measurements: Sequence[Measurement]
    refusals: Sequence[str] = ()
    verdicts: Sequence[Verdict] = ()
    growth: Sequence[Growth] = ()


class Line(NamedTuple):
    """One row of the table of times.

    Attributes:
        op: The op or training step.
        size: Its size, in words.
        mode: How both sides ran: default, channels_last or compiled.
        phase: ``"forward"``, ``"backward"`` or ``"both"``.
        ours: Our time in seconds.
        theirs: The built-in's time in seconds.
        ratio: Ours over theirs within each pair.
        floor: A lower bound in seconds.
        saved: Bytes saved for the backward, ours over theirs; None if theirs saves none, or on other rows.
        peak: Peak memory, ours over theirs; None on other rows.
    """

    op: str
    size: str
    mode: str
    phase: str
    ours: Spread
    theirs: Spread
    ratio: Spread
    floor: float
    saved: float | None
    peak: float | None

    def cells(self) -> tuple[str, ...]:
        """Returns the texts of the row in the order of `HEADINGS`."""
        return (
            self.op,
            self.size,
            self.mode,
            self.phase,
            time(self.ours.middle),
            time(self.theirs.middle),
            f"{self.ratio.middle:.2f} ({self.ratio.low:.2f} to {self.ratio.high:.2f})",
            time(self.floor),
            f"{self.floor / self.ours.middle:.0%}",
            "" if self.saved is None else f"{self.saved:.2f}",
            "" if self.peak is None else f"{self.peak:.2f}",
        )


def lines(found: Sequence[Measurement]) -> Iterator[Line]:
    """Yields each measurement in every mode and phase; the last row of the default mode has the memory."""
    for m in found:
        ours, theirs = (m.memory[side] for side in ("custom", "builtin"))
        saved, peak = (a / b if b else None for a, b in ((ours.saved, theirs.saved), (ours.peak, theirs.peak)))
        for mode, custom, builtin in pairs(m):
            for phase in m.phases():
                with_memory = mode == "default" and phase == m.phases()[-1]
                yield Line(
                    m.op,
                    m.size,
                    mode,
                    phase,
                    m.seconds(custom, phase),
                    m.seconds(builtin, phase),
                    m.ratio(custom, builtin, phase),
                    m.floor[phase],
                    saved if with_memory else None,
                    peak if with_memory else None,
                )


def time(seconds: float) -> str:
    """Formats seconds with a suitable unit."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def about(machine: Machine) -> list[str]:
    """Describes the machine and its measured limits, one sentence each."""
    what = ", ".join(f"{name} {value}" for name, value in machine.description.items())
    large = max(machine.warm)
    return [
        what,
        f"matrix product {machine.flops / 1e9:.0f} GFLOP/s; copying {large >> 20} MiB reads and writes "
        f"{machine.warm[large] / 1e9:.1f} GB/s into memory in use, {machine.fresh[large] / 1e9:.1f} GB/s into new "
        "memory",
    ]


def target_cells(verdict: Verdict) -> tuple[str, ...]:
    """Returns the texts of a target's row in the order of `TARGET_HEADINGS`."""
    target = verdict.target
    figure = "" if verdict.figure is None else f"{verdict.figure:.2f}{target.unit}"
    return target.what, f"{target.limit:.2f}{target.unit}", figure, verdict.word, verdict.note


def growth_cells(growth: Growth) -> tuple[str, ...]:
    """Returns the texts of an axis in the order of `GROWTH_HEADINGS`."""
    ours, theirs = growth.exponents()
    return (
        growth.axis.op,
        growth.axis.name,
        ", ".join(f"{size:,}".replace(",", "\N{NO-BREAK SPACE}") for size in growth.axis.sizes),
        ", ".join(f"{ratio.middle:.2f}" for ratio in growth.ratio),
        f"{ours:.2f}",
        f"{theirs:.2f}",
    )
