"""Bar charts of one number per name, or of two."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from experiments.figures import WIDTH

__all__ = ["bars", "columns"]

HEIGHT = 0.38


def bars(title: str, pairs: Mapping[str, tuple[float, float]], of: tuple[str, str], x: str) -> Figure:
    """Draws a pair of horizontal bars for each name.

    Args:
        title: Title of the figure.
        pairs: Two values by name.
        of: Legend labels of the first and the second value.
        x: Label of the value axis.
    """
    figure = Figure(figsize=(WIDTH, 0.4 * len(pairs) + 1.2), layout="constrained")
    axes = figure.subplots()
    least = min(min(pair) for pair in pairs.values())
    largest = max(max(pair) for pair in pairs.values())
    space = 0.15 * (largest - least) or 0.1
    for which, (label, color) in enumerate(zip(of, ("lightgrey", "tab:blue"), strict=True)):
        lengths = [pair[which] for pair in pairs.values()]
        places = [row + (which - 0.5) * HEIGHT for row in range(len(pairs))]
        drawn = axes.barh(places, lengths, HEIGHT, label=label, color=color)
        axes.bar_label(drawn, fmt="%.3f", padding=3, fontsize="small")
    axes.set_yticks(range(len(pairs)), list(pairs))
    axes.invert_yaxis()
    axes.set(title=title, xlabel=x, ylabel="network", xlim=(least - space, largest + space))
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    return figure


def columns(title: str, heights: Mapping[str, float], *, y: str) -> Figure:
    """Draws a vertical bar for each name, with its value above.

    Args:
        title: Title of the figure.
        heights: Values by name.
        y: Label of the value axis.
    """
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    axes = figure.subplots()
    drawn = axes.bar(list(heights), list(heights.values()), color="C0")
    axes.bar_label(drawn, fmt="%.3g", padding=2)
    axes.set(title=title, ylabel=y)
    axes.tick_params(axis="x", labelrotation=30 if len(heights) > 4 else 0)
    axes.margins(y=0.12)
    axes.grid(alpha=0.3, axis="y")
    return figure
