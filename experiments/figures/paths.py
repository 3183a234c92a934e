"""The ways that several descents take on a surface, seen from above."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.data.synthetic import Surface

__all__ = ["paths"]

RESOLUTION = 160
LEVELS = 24


def paths(title: str, surface: Surface, ways: Mapping[str, Tensor]) -> Figure:
    """Contour lines of the surface, closer where it is low, and each way as a line from its start.

    Args:
        title: What stands above.
        surface: Where they go down.
        ways: By name, the points gone through, shape (steps + 1, 2).
    """
    left, right, bottom, top = surface.span
    x, y = torch.linspace(left, right, RESOLUTION), torch.linspace(bottom, top, RESOLUTION)
    height = surface.height(torch.cartesian_prod(x, y)).view(RESOLUTION, RESOLUTION).T
    rise = height - height.min()
    levels = height.min() + rise.max() * torch.linspace(0.02, 1, LEVELS) ** 3
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.contourf(
        x.numpy(), y.numpy(), rise.clamp(min=1e-9).sqrt().numpy(), levels=LEVELS, cmap="Greys", alpha=0.6
    )
    axes.contour(
        x.numpy(), y.numpy(), height.numpy(), levels=levels.unique().numpy(), colors="grey", linewidths=0.4
    )
    for name, way in ways.items():
        axes.plot(
            *way.T.numpy(),
            marker=".",
            markersize=3,
            linewidth=1.2,
            label=f"{name}: ends {_distance(surface, way)}",
        )
    axes.plot(*surface.start, marker="o", color="black", linestyle="none", label="start")
    axes.plot(*surface.lowest, marker="*", color="black", markersize=12, linestyle="none", label="lowest point")
    axes.set(title=title, xlabel="first weight", ylabel="second weight", xlim=(left, right), ylim=(bottom, top))
    axes.legend(fontsize="small")
    return figure


def _distance(surface: Surface, way: Tensor) -> str:
    left = torch.linalg.vector_norm(way[-1] - torch.tensor(surface.lowest).to(way))
    return f"{left.item():.2g} away"
