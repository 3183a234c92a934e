"""Measurements of one variable by another, and the functions that were fitted to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.figures.curves import STYLES

__all__ = ["lines"]


def lines(
    title: str, x: Tensor, y: Tensor, odd: Tensor, fitted: Mapping[str, Callable[[Tensor], Tensor]]
) -> Figure:
    """Points, those that are odd in another colour, and lines through them.

    Args:
        title: What stands above.
        x: Shape (N, 1).
        y: Shape (N, 1).
        odd: Which points are outliers, shape (N,).
        fitted: Functions of x by the name in the legend.
    """
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.scatter(x[~odd].numpy(), y[~odd].numpy(), s=16, color="grey", label="measurements")
    axes.scatter(x[odd].numpy(), y[odd].numpy(), s=16, color="tab:red", marker="x", label="outliers")
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
