"""Line plots: several curves in one figure, or measurements and the functions fitted to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.figures import WIDTH

__all__ = ["Curve", "curves", "lines"]

Curve = tuple[Sequence[float], Sequence[float]]  # x and y

STYLES = ("solid", "dashed", "dashdot", "dotted")  # reveal a curve that another covers
SIZE = (WIDTH, 3.8)
MOST_MARKED = 30  # curves with more points have no markers


def curves(
    title: str,
    lines: Mapping[str, Curve],
    *,
    x: str,
    y: str,
    log: str = "",
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Draws named curves over a common axis.

    Args:
        title: Title of the figure.
        lines: Curves by their name in the legend.
        x: Label of the horizontal axis.
        y: Label of the vertical axis.
        log: Axes with a logarithmic scale: ``"x"``, ``"y"``, ``"xy"`` or none.
        limits: Ends of the vertical axis, to compare figures; by default those of the curves.
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
    axes.set_ylim(limits)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", ncols=2 if len(lines) > 6 else 1)
    return figure


def lines(
    title: str, x: Tensor, y: Tensor, outliers: Tensor, fitted: Mapping[str, Callable[[Tensor], Tensor]]
) -> Figure:
    """Draws measurements, outliers in another color, and the functions fitted to them.

    Args:
        title: Title of the figure.
        x: Shape (N, 1).
        y: Shape (N, 1).
        outliers: Mask of the outliers, shape (N,).
        fitted: Functions of x by their name in the legend.
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    axes.scatter(x[~outliers].numpy(), y[~outliers].numpy(), s=16, color="grey", label="measurements")
    axes.scatter(x[outliers].numpy(), y[outliers].numpy(), s=16, color="tab:red", marker="x", label="outliers")
    across = torch.linspace(float(x.min()), float(x.max()), 50, dtype=x.dtype).unsqueeze(1)
    for number, (name, function) in enumerate(fitted.items()):
        with torch.no_grad():
            axes.plot(
                across,
                function(across),
                label=name,
                linestyle=STYLES[number % len(STYLES)],
            )
    axes.set(title=title, xlabel="x", ylabel="y")
    axes.legend(fontsize="small")
    return figure
