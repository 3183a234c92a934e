"""Several named curves in one frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

__all__ = ["STYLES", "Curve", "curves"]

Curve = tuple[Sequence[float], Sequence[float]]  # x and y

STYLES = ("solid", "dashed", "dashdot", "dotted")  # so that a curve shows which another one covers
SIZE = (5.6, 3.8)  # inches: larger ones have letters too small for a card of TensorBoard
MOST_MARKED = 30  # points up to which each is marked


def curves(
    title: str,
    lines: Mapping[str, Curve],
    *,
    x: str,
    y: str,
    log: str = "",
) -> Figure:
    """Curves over a common axis.

    Args:
        title: What stands above.
        lines: The curves by the name in the legend.
        x: What the horizontal axis measures.
        y: What the vertical axis measures.
        log: The axes with a logarithmic scale: ``"x"``, ``"y"``, ``"xy"``, or none.
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    for number, (name, (across, up)) in enumerate(lines.items()):
        axes.plot(
            across,
            up,
            label=name,
            linestyle=STYLES[number % len(STYLES)],
            marker="o" if len(across) <= MOST_MARKED else None,
            markersize=3.5,
        )
    axes.set(xlabel=x, ylabel=y)
    axes.set_title(title, fontsize="medium")
    axes.set_xscale("log" if "x" in log else "linear")
    axes.set_yscale("log" if "y" in log else "linear")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", ncols=2 if len(lines) > 6 else 1)
    return figure
