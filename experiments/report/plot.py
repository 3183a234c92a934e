"""Curves as pictures: one for each figure, with all networks in it."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.report.networks import Curve, Trained

__all__ = ["plot"]

SMOOTHING = 0.05  # of the training curve: the share of a new point in the moving mean that is drawn


def plot(trained: Sequence[Trained], figure: str) -> bytes:
    """A figure of all networks over the steps, as PNG: the test set's with dots, the training batches' faint."""
    drawing = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.subplots()
    colours = matplotlib.color_sequences["tab10" if len(trained) <= 10 else "tab20"]
    for i, each in enumerate(trained):
        colour = colours[i % len(colours)]
        if (curve := each.curves.get(("train", figure))) is not None:
            axes.plot(curve.steps, smoothed(curve), color=colour, alpha=0.4, linewidth=1, label="_")
        if (curve := each.curves.get(("test", figure))) is not None:
            axes.plot(curve.steps, curve.values, "o-", color=colour, markersize=4, label=each.name)
        elif ("train", figure) in each.curves:
            axes.plot([], [], color=colour, alpha=0.4, label=f"{each.name} (training)")
    axes.set_title(f"{figure.replace('_', ' ')}: test set dotted, training batches faint (moving mean)")
    axes.set_xlabel("training step")
    axes.set_ylabel(figure.replace("_", " "))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    file = io.BytesIO()
    drawing.savefig(file, format="png")
    return file.getvalue()


def smoothed(curve: Curve) -> list[float]:
    """The moving mean, without a bias to where it starts.

    >>> smoothed(Curve([1, 2, 3], [4.0, 4.0, 4.0]))
    [4.0, 4.0, 4.0]
    """
    mean = weight = 0.0
    found = []
    for value in curve.values:
        mean += SMOOTHING * (value - mean)
        weight += SMOOTHING * (1 - weight)
        found.append(mean / weight)
    return found
