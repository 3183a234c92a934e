"""A number for each of a few names."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

__all__ = ["columns"]


def columns(title: str, heights: Mapping[str, float], *, y: str) -> Figure:
    """Bars side by side, each with its number above.

    Args:
        title: What stands above.
        heights: The numbers by what they are of.
        y: What they measure.
    """
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    drawn = axes.bar(list(heights), list(heights.values()), color="C0")
    axes.bar_label(drawn, fmt="%.3g", padding=2)
    axes.set(title=title, ylabel=y)
    axes.tick_params(axis="x", labelrotation=20 if len(heights) > 6 else 0)
    axes.margins(y=0.12)
    axes.grid(alpha=0.3, axis="y")
    return figure
