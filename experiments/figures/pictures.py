"""Rows of small pictures."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["pictures"]

GAP, GAP_COLOUR = 1, 80
INCHES = 0.42  # of a picture: with larger ones the letters are too small in a card of TensorBoard


def pictures(title: str, rows: Mapping[str, Tensor], *, x: str, y: str) -> Figure:
    """Grey pictures, a named row of them for each set.

    Args:
        title: What stands above.
        rows: Bytes of shape (N, height, width) by the name of the row, equally many in each; 255 is white.
        x: What the columns are.
        y: What the rows are.
    """
    count, height, width = next(iter(rows.values())).shape
    framed = pad(torch.stack([images.cpu() for images in rows.values()]), (GAP, GAP, GAP, GAP), value=GAP_COLOUR)
    sheet = framed.permute(0, 2, 1, 3).reshape(len(rows) * (height + 2 * GAP), count * (width + 2 * GAP))
    figure = Figure(figsize=(1.2 + INCHES * count, 1.0 + INCHES * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(sheet.numpy(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    across, down = width + 2 * GAP, height + 2 * GAP
    axes.set_xticks([(column + 0.5) * across for column in range(count)], map(str, range(1, count + 1)))
    axes.set_yticks([(row + 0.5) * down for row in range(len(rows))], list(rows))
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.tick_params(length=0)
    return figure
