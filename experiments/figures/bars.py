"""Two figures for each of several names, side by side."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

__all__ = ["bars"]

HEIGHT = 0.38


def bars(title: str, pairs: Mapping[str, tuple[float, float]], of: tuple[str, str], x: str) -> Figure:
    """A pair of bars for each name, from the least figure on.

    Args:
        title: What stands above.
        pairs: Two figures by name.
        of: What the first and the second figure are.
        x: What both measure.
    """
    figure = Figure(figsize=(6.4, 0.5 * len(pairs) + 1.2), layout="constrained")
    axes = figure.subplots()
    least = min(min(pair) for pair in pairs.values())
    largest = max(max(pair) for pair in pairs.values())
    space = 0.15 * (largest - least) or 0.1
    for which, (label, colour) in enumerate(zip(of, ("lightgrey", "tab:blue"), strict=True)):
        lengths = [pair[which] for pair in pairs.values()]
        places = [row + (which - 0.5) * HEIGHT for row in range(len(pairs))]
        drawn = axes.barh(places, lengths, HEIGHT, label=label, color=colour)
        axes.bar_label(drawn, fmt="%.3f", padding=3, fontsize="small")
    axes.set_yticks(range(len(pairs)), list(pairs))
    axes.invert_yaxis()
    axes.set(title=title, xlabel=x, ylabel="network", xlim=(least - space, largest + space))
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    return figure
