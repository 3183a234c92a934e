"""Attention weights as images."""

from __future__ import annotations

import math
from collections.abc import Mapping

from matplotlib.figure import Figure
from torch import Tensor

from experiments.figures import WIDTH

__all__ = ["maps"]

COLUMNS = 2
LEAST = 1.1  # inches of a panel's height


def maps(title: str, weights: Mapping[str, Tensor], *, x: str, y: str, labels: str = "") -> Figure:
    """Draws a panel for each head, two in a row; dark is 0 and bright is 1.

    Args:
        title: Title of the figure.
        weights: Shares of what is read (columns) at each time (rows), shape (times, T), by name.
        x: Label of the columns.
        y: Label of the rows.
        labels: A character for each row and column of square panels.
    """
    rows = math.ceil(len(weights) / COLUMNS)
    down, across = next(iter(weights.values())).shape
    height = max(LEAST, WIDTH / COLUMNS * min(1, down / across))
    figure = Figure(figsize=(WIDTH, 0.8 + rows * (height + 0.15)), layout="constrained")
    panels = figure.subplots(rows, COLUMNS, squeeze=False, sharex=True, sharey=True).flatten()
    for axes, (name, shares) in zip(panels, weights.items(), strict=False):
        image = axes.imshow(
            shares.numpy(),
            cmap="magma",
            vmin=0,
            vmax=1,
            aspect="auto",
            interpolation="nearest",
            extent=(0.5, across + 0.5, down + 0.5, 0.5),
        )
        axes.set_title(name, fontsize="small")
        if labels:
            axes.set_xticks(range(1, across + 1), labels, fontsize=5.5, family="monospace")
            axes.set_yticks(range(1, down + 1), labels, fontsize=5.5, family="monospace")
            axes.tick_params(length=0)
    for axes in panels[len(weights) :]:
        axes.set_axis_off()
    figure.suptitle(title, fontsize="medium")
    figure.supxlabel(x, fontsize="small")
    figure.supylabel(y, fontsize="small")
    figure.colorbar(image, ax=list(panels), shrink=0.4, label="share of attention")
    return figure
