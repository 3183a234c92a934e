"""Plots as inline SVG, with the page's colors."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reference.catalog import Record
from reference.check import OpCheck
from reference.report.summary import accuracy, dtype_name
from scratchnet.testing.tolerances import unit_in_the_last_place

__all__ = ["Curves", "activation_plot", "curves", "dtype_plot", "svg"]

WIDTH, HEIGHT, MARGIN = 300, 150, 24
REACH, POINTS = 4.0, 161


@dataclass(frozen=True)
class Curves:
    """Points of an activation's graph: x, value, slope, and the float32 error in units in the last place."""

    x: Tensor
    value: Tensor
    slope: Tensor
    units: Tensor


def curves(record: Record) -> Curves | None:
    """Returns the curves of an op that acts elementwise on one tensor; None for other ops."""
    x = torch.linspace(-REACH, REACH, POINTS, dtype=torch.float64, requires_grad=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            y = record.custom(x)
            flipped = record.custom(x.detach().flip(0)).flip(0)
            alone = record.custom(x.detach()[:1])
    except Exception:  # the op needs other arguments
        return None
    if not isinstance(y, Tensor) or y.shape != x.shape or not y.requires_grad:
        return None
    # The result of a normalization or pooling depends on the neighbors.
    if not torch.equal(flipped, y.detach()) or not torch.allclose(alone, y.detach()[:1]):
        return None
    (slope,) = torch.autograd.grad(y.sum(), x)
    short = record.custom(x.detach().float()).double()
    truth = record.builtin(x.detach().float().double())
    unit = torch.tensor([unit_in_the_last_place(float(v), torch.float32) for v in truth])
    return Curves(x.detach(), y.detach(), slope, (short - truth) / unit)


def activation_plot(found: Curves) -> str:
    """Plots value and slope, and below them the error."""
    above = _panel({"value": (found.x, found.value), "slope": (found.x, found.slope)})
    below = _panel({"error": (found.x, found.units)}, caption="error of float32, in units in the last place")
    return above + below


def dtype_plot(results: Sequence[OpCheck]) -> str:
    """Plots the largest errors of output and gradients in each short dtype."""
    short = [result for result in results if result.dtype is not torch.float64]
    if not short:
        return ""
    slot = WIDTH / len(short)
    drawn = []
    for i, result in enumerate(short):
        for k, kind in enumerate(("output", "gradient")):
            found = accuracy(result, kind)
            assert found is not None
            for side, units in enumerate((found.ours, found.builtin)):
                left = i * slot + slot * (0.14 + 0.18 * (2 * k + side))
                drawn.append(_bar(f"{kind} {('ours', 'builtin')[side]}", result, left, slot * 0.16, units))
        middle = (i + 0.5) * slot
        drawn.append(
            f'<text x="{middle:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{dtype_name(result.dtype)}</text>'
        )
    return svg(
        "".join(drawn), "largest error against float64, in units in the last place: ours, built-in's hollow"
    )


def _bar(kind: str, result: OpCheck, left: float, width: float, units: float) -> str:
    height = min(1.0, math.log2(1 + units) / 6) * (HEIGHT - 2 * MARGIN)
    return (
        f'<rect class="{kind}" x="{left:.1f}" y="{HEIGHT - MARGIN - height:.1f}" width="{width:.1f}" '
        f'height="{max(height, 1):.1f}"><title>{dtype_name(result.dtype)} {kind}: {units:.2g} units</title></rect>'
    )


def _panel(lines: dict[str, tuple[Tensor, Tensor]], caption: str = "") -> str:
    values = torch.cat([y[y.isfinite()] for _, y in lines.values()])
    low, high = float(values.min()), float(values.max())
    span = max(high - low, 1e-3)

    def at(x: float, y: float) -> str:
        across = (x + REACH) / (2 * REACH) * WIDTH
        return f"{across:.1f},{HEIGHT - MARGIN - (y - low) / span * (HEIGHT - 2 * MARGIN):.1f}"

    drawn = []
    for name, (x, y) in lines.items():
        points = " ".join(at(float(a), float(b)) for a, b in zip(x, y, strict=True) if math.isfinite(float(b)))
        drawn.append(f'<polyline class="{name}" points="{points}"><title>{name}</title></polyline>')
    zero = f'<line x1="{WIDTH / 2}" x2="{WIDTH / 2}" y1="{MARGIN}" y2="{HEIGHT - MARGIN}"/>'
    scale = f'<text x="2" y="{MARGIN - 8}">{high:.3g}</text><text x="2" y="{HEIGHT - 8}">{low:.3g}</text>'
    names = caption or " and ".join(lines)
    return svg(zero + "".join(drawn) + scale, names)


def svg(content: str, title: str, height: int = HEIGHT) -> str:
    """Returns a drawing with a caption."""
    box = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    drawing = f'<svg {box} role="img" aria-label="{title}">{content}</svg>'
    return f"<figure>{drawing}<figcaption>{title}</figcaption></figure>"
