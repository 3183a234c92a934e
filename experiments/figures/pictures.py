"""Small grayscale images: in named rows, or in a grid with labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import pad

from experiments.figures import WIDTH

__all__ = ["gallery", "pictures"]

GAP, GAP_COLOR = 1, 80
COLUMNS = 4  # of a gallery


def pictures(title: str, rows: Mapping[str, Tensor], *, x: str, y: str) -> Figure:
    """Draws images in named rows.

    Args:
        title: Title of the figure.
        rows: Bytes of shape (N, height, width) by row name, with the same N in each row; 255 is white.
        x: Label of the columns.
        y: Label of the rows.
    """
    count, height, width = next(iter(rows.values())).shape
    framed = pad(torch.stack([images.cpu() for images in rows.values()]), (GAP, GAP, GAP, GAP), value=GAP_COLOR)
    sheet = framed.permute(0, 2, 1, 3).reshape(len(rows) * (height + 2 * GAP), count * (width + 2 * GAP))
    inches = min(0.6, (WIDTH - 1) / count)  # per image
    figure = Figure(figsize=(WIDTH, 1.0 + inches * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(sheet.numpy(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    across, down = width + 2 * GAP, height + 2 * GAP
    axes.set_xticks([(column + 0.5) * across for column in range(count)], map(str, range(1, count + 1)))
    axes.set_yticks([(row + 0.5) * down for row in range(len(rows))], list(rows))
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.tick_params(length=0)
    return figure


def gallery(images: Tensor, labels: Sequence[str], title: str) -> Figure:
    """Draws images of shape (N, H, W) in rows of four, each with a label above it."""
    columns = min(COLUMNS, len(images))
    rows = math.ceil(len(images) / columns)
    height, width = images.shape[1:]
    gap = height // 3
    canvas = torch.ones(rows * (height + gap), columns * (width + gap) - gap)
    figure = Figure(figsize=(WIDTH, 0.7 + WIDTH / COLUMNS * rows), layout="constrained")
    axes = figure.subplots()
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        top, left = i // columns * (height + gap) + gap, i % columns * (width + gap)
        canvas[top : top + height, left : left + width] = image
        axes.text(left + width / 2, top - 1, label, ha="center", va="bottom")
    axes.imshow(canvas.numpy(), cmap="gray", vmin=0, vmax=1)
    axes.set_axis_off()
    axes.set_title(title, fontsize="medium")
    return figure
