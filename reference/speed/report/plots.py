"""Plots of times: the median of each candidate, its 20th to 80th percentile, and the floor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from reference.report.plots import WIDTH, svg
from reference.speed.measure import Measurement
from reference.speed.report.results import Line, time

__all__ = ["ratio_plot", "time_plot"]

ROW, TOP, LEFT = 16, 14, 12


def time_plot(found: Measurement) -> str:
    """Plots every candidate of one workload on a logarithmic scale of seconds."""
    phase = found.phases()[-1]
    spreads = {candidate: found.seconds(candidate, phase) for candidate in found.times}
    floor = found.floor[phase]
    low = min(floor, *(s.low for s in spreads.values()))
    high = max(s.high for s in spreads.values())
    scale = _Scale(low, high)
    drawn = [
        f'<line class="floor" x1="{scale(floor)}" x2="{scale(floor)}" y1="0" y2="{ROW * len(spreads) + TOP}"/>'
    ]
    for i, (candidate, spread) in enumerate(spreads.items()):
        y = TOP + ROW * i
        title = f"<title>{candidate}: {time(spread.middle)}</title>"
        drawn += [
            f'<line class="range" x1="{scale(spread.low)}" x2="{scale(spread.high)}" y1="{y}" y2="{y}"/>',
            f'<circle class="{candidate.side}" cx="{scale(spread.middle)}" cy="{y}" r="4">{title}</circle>',
        ]
    height = TOP + ROW * len(spreads) + TOP
    drawn.append(f'<text x="2" y="{height - 2}">{time(low)}</text>')
    drawn.append(f'<text x="{WIDTH - 2}" y="{height - 2}" text-anchor="end">{time(high)}</text>')
    return svg("".join(drawn), escape(f"{found.size}, {phase}"), height)


def ratio_plot(lines: Sequence[Line]) -> str:
    """Plots the ratio of every workload, forward and backward, in ascending order."""
    chosen = sorted((x for x in lines if x.phase != "backward"), key=lambda line: line.ratio.middle)
    chosen = [x for x in chosen if x.phase == "both" or all(y.phase == "forward" for y in lines if y[:3] == x[:3])]
    if not chosen:
        return ""
    scale = _Scale(min(0.5, chosen[0].ratio.middle), max(2.0, chosen[-1].ratio.middle))
    step = 4
    drawn = [f'<line class="even" x1="{scale(1)}" x2="{scale(1)}" y1="0" y2="{TOP + step * len(chosen)}"/>']
    for i, line in enumerate(chosen):
        title = f"<title>{escape(f'{line.op} {line.size} {line.mode}: {line.ratio.middle:.2f}')}</title>"
        side = "custom" if line.ratio.middle <= 1 else "builtin"
        drawn.append(
            f'<circle class="{side}" cx="{scale(line.ratio.middle)}" cy="{TOP + step * i}" r="2">{title}</circle>'
        )
    height = 2 * TOP + step * len(chosen)
    drawn.append(f'<text x="{scale(1)}" y="{height - 2}" text-anchor="middle">1</text>')
    return svg("".join(drawn), "time of ours over the built-in's: blue where ours is faster", height)


class _Scale:
    """A logarithmic scale over the width of a plot."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.span = math.log(low), max(math.log(high) - math.log(low), 1e-9)

    def __call__(self, value: float) -> str:
        return f"{LEFT + (math.log(value) - self.low) / self.span * (WIDTH - 2 * LEFT):.1f}"
