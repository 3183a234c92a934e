"""Which side of its decision boundary a classifier puts each point of the plane on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

__all__ = ["Panel", "boundary"]

COLOURS = ("tab:red", "tab:blue")
RESOLUTION = 120
MARGIN = 0.15  # of the extent of the points, on each side


@dataclass(frozen=True)
class Panel:
    """A classifier and the points that it is to tell apart.

    Attributes:
        title: What stands above it.
        score: Scores of points of shape (N, 2), above 0 for class 1.
        points: Shape (N, 2).
        labels: Shape (N,), 0 or 1.
        support: Which points hold the boundary up, shape (N,), where that means something: they are ringed, and
            the lines at score ±1, the edges of the margin, are drawn.
    """

    title: str
    score: Callable[[Tensor], Tensor]
    points: Tensor
    labels: Tensor
    support: Tensor | None = None


def boundary(title: str, panels: Sequence[Panel]) -> Figure:
    """Classifiers side by side: the colour is the score, the black line the boundary."""
    figure = Figure(figsize=(4 * len(panels), 3.9), layout="constrained")
    figure.suptitle(title)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        least, largest = panel.points.amin(0), panel.points.amax(0)
        space = MARGIN * (largest - least)
        x, y = (
            torch.linspace(float(a), float(b), RESOLUTION)
            for a, b in zip(least - space, largest + space, strict=True)
        )
        grid = torch.cartesian_prod(x, y).to(panel.points)
        with torch.no_grad():
            height = panel.score(grid).view(RESOLUTION, RESOLUTION).T.double().cpu()
        contours = x.numpy(), y.numpy(), height.numpy()
        extent = max(1e-6, float(height.abs().quantile(0.9)))
        axes.pcolormesh(*contours, cmap="RdBu", vmin=-extent, vmax=extent, alpha=0.5, rasterized=True)
        if float(height.min()) < 0 < float(height.max()):
            axes.contour(*contours, levels=[0], colors="black")
        for label, colour in enumerate(COLOURS):
            of_class = panel.points[panel.labels == label].cpu()
            axes.scatter(
                *of_class.T, s=28, color=colour, edgecolors="white", linewidths=0.6, label=f"class {label}"
            )
        if panel.support is not None:
            axes.contour(*contours, levels=[-1, 1], colors="black", linestyles="dashed", linewidths=0.8)
            ringed = panel.points[panel.support].cpu()
            axes.scatter(
                *ringed.T.numpy(), s=70, facecolors="none", edgecolors="black", linewidths=0.8, label="support"
            )
        axes.set(title=panel.title, xlabel="x₁", ylabel="x₂")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
