"""Functions of two variables as contours: decision boundaries, and descents on a surface."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.data.synthetic import Surface
from experiments.figures import WIDTH

__all__ = ["Panel", "boundary", "paths"]

COLORS = ("tab:red", "tab:blue")
RESOLUTION, PATHS_RESOLUTION = 120, 160  # points of a grid along each axis
LEVELS = 24
MARGIN = 0.15  # on each side, relative to the extent of the points


@dataclass(frozen=True)
class Panel:
    """A classifier and the points to classify.

    Attributes:
        title: Title of the panel.
        score: Maps points of shape (N, 2) to scores, which are above 0 for class 1.
        points: Shape (N, 2).
        labels: Shape (N,), 0 or 1.
        support: Mask (N,) of support vectors, if the classifier has any: they are ringed, and the margin's
            edges at score ±1 are drawn.
    """

    title: str
    score: Callable[[Tensor], Tensor]
    points: Tensor
    labels: Tensor
    support: Tensor | None = None


def boundary(title: str, panels: Sequence[Panel]) -> Figure:
    """Draws classifiers, two in a row, with the score as color and the decision boundary as a black line."""
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(WIDTH, 0.7 + 2.6 * rows), layout="constrained")
    figure.suptitle(title)
    for place, panel in enumerate(panels, 1):
        axes: Any = figure.add_subplot(rows, columns, place)
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
        for label, color in enumerate(COLORS):
            of_class = panel.points[panel.labels == label].cpu()
            axes.scatter(
                *of_class.T, s=28, color=color, edgecolors="white", linewidths=0.6, label=f"class {label}"
            )
        if panel.support is not None:
            axes.contour(*contours, levels=[-1, 1], colors="black", linestyles="dashed", linewidths=0.8)
            ringed = panel.points[panel.support].cpu()
            axes.scatter(
                *ringed.T.numpy(), s=70, facecolors="none", edgecolors="black", linewidths=0.8, label="support"
            )
        axes.set(xlabel="x₁", ylabel="x₂")
        axes.set_title(panel.title.replace("_", " "), fontsize="medium")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def paths(title: str, surface: Surface, descents: Mapping[str, Tensor]) -> Figure:
    """Draws contour lines of a surface, denser at low values, and the path of each descent.

    Args:
        title: Title of the figure.
        surface: The surface.
        descents: Points of each descent, shape (steps + 1, 2), by name.
    """
    left, right, bottom, top = surface.span
    x, y = torch.linspace(left, right, PATHS_RESOLUTION), torch.linspace(bottom, top, PATHS_RESOLUTION)
    height = surface.height(torch.cartesian_prod(x, y)).view(PATHS_RESOLUTION, PATHS_RESOLUTION).T
    rise = height - height.min()
    levels = height.min() + rise.max() * torch.linspace(0.02, 1, LEVELS) ** 3
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.contourf(
        x.numpy(), y.numpy(), rise.clamp(min=1e-9).sqrt().numpy(), levels=LEVELS, cmap="Greys", alpha=0.6
    )
    axes.contour(
        x.numpy(), y.numpy(), height.numpy(), levels=levels.unique().numpy(), colors="grey", linewidths=0.4
    )
    for name, path in descents.items():
        axes.plot(
            *path.T.numpy(),
            marker=".",
            markersize=3,
            linewidth=1.2,
            label=f"{name}: ends {_distance(surface, path)}",
        )
    axes.plot(*surface.start, marker="o", color="black", linestyle="none", label="start")
    axes.plot(*surface.lowest, marker="*", color="black", markersize=12, linestyle="none", label="lowest point")
    axes.set(title=title, xlabel="first weight", ylabel="second weight", xlim=(left, right), ylim=(bottom, top))
    axes.legend(fontsize="small")
    return figure


def _distance(surface: Surface, path: Tensor) -> str:
    left = torch.linalg.vector_norm(path[-1] - torch.tensor(surface.lowest).to(path))
    return f"{left.item():.2g} away"
