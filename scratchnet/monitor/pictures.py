"""Weights and confusion matrices as images, blue and red on white: `(3, height, width)` tensors in [0, 1]."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["confusion_picture", "filter_picture"]

BLUE, RED = (0.13, 0.40, 0.67), (0.70, 0.09, 0.17)
LARGEST = 880  # pixels along an edge of a confusion matrix, where its classes are few enough
TILE = 32  # pixels along an edge of a filter, at least
MOST_TILES = 256

# Digits of 3 by 5 pixels, top row first.
DIGITS = (
    "111101101101111", "010110010010111", "111001111100111", "111001111001111", "101101111001001",
    "111100111001111", "111100111101111", "111001001001001", "111101111101111", "111101111001111",
)  # fmt: skip
PEN = 2  # pixels along an edge of a digit's pixel


def filter_picture(weight: Tensor) -> Tensor:
    """The filters of a convolution, as tiles in reading order, on one scale from the largest weight down.

    Args:
        weight: Shape `(filters, channels, *kernel)` with a kernel of one or two dimensions. Filters of three
            channels are shown as colours about mid-grey; of any others each channel is a tile of its own,
            with positive weights blue and negative ones red.

    Returns:
        At most 256 tiles; NaN and infinite weights are shown as zeros.
    """
    weight = weight.detach().to("cpu", torch.float32).nan_to_num(0.0, 0.0, 0.0)
    if weight.ndim == 3:
        weight = weight.unsqueeze(2)
    if weight.shape[1] != 3:
        weight = weight.flatten(0, 1).unsqueeze(1)
    weight = weight[:MOST_TILES]
    weight = weight / weight.abs().max().clamp(min=torch.finfo(torch.float32).tiny)
    tiles = 0.5 + 0.5 * weight if weight.shape[1] == 3 else _blue_red(weight.clamp(min=0), -weight.clamp(max=0))
    zoom = math.ceil(TILE / max(tiles.shape[2:]))
    return _mosaic(tiles.repeat_interleave(zoom, 2).repeat_interleave(zoom, 3))


def confusion_picture(counts: Tensor) -> Tensor:
    """A confusion matrix: a row for each true class, a column for each predicted one.

    A cell is as dark as its share of the row; for the errors, in red, as the square root of the share, since
    they are few. Class numbers and counts are written where there is room.

    Args:
        counts: Shape `(classes, classes)`, whole numbers.
    """
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.numel():
        raise ValueError(
            "expected confusion to be a square matrix of counts, a row for each true class and a column for "
            f"each predicted one, got shape {tuple(counts.shape)}"
        )
    counts = counts.detach().to("cpu", torch.float64)
    if not bool(((counts >= 0) & (counts.frac() == 0)).all()):
        raise ValueError("expected confusion to hold counts, got values that are no whole numbers from 0 up")
    classes = len(counts)
    shares = (counts / counts.sum(1, keepdim=True).clamp(min=1)).float()
    right = torch.diag(shares.diag())
    cells = _blue_red(right[None, None], (shares - right).sqrt()[None, None])[0]
    size = max(1, min(TILE + 12, LARGEST // classes))
    picture = torch.ones(3, size * (classes + 1), size * (classes + 1))
    picture[:, size:, size:] = cells.repeat_interleave(size, 1).repeat_interleave(size, 2)
    if size >= 8:
        picture[:, size::size, size:] = picture[:, size:, size::size] = 0.85
    numbered = _fits(f"{counts.max():.0f}", size)
    for i in range(classes):
        _write(picture, str(i), (i + 1) * size, 0, size, 0.4)
        _write(picture, str(i), 0, (i + 1) * size, size, 0.4)
        for j in counts[i].nonzero().flatten().tolist() if numbered else ():
            shade = 1.0 if cells[:, i, j].mean() < 0.6 else 0.0
            _write(picture, f"{counts[i, j]:.0f}", (i + 1) * size, (j + 1) * size, size, shade)
    return picture


def _blue_red(blue: Tensor, red: Tensor) -> Tensor:
    """Colours, shape `(n, 3, h, w)`, for amounts, shape `(n, 1, h, w)`: white for 0, full colour for 1."""
    blue_ink, red_ink = (1 - torch.tensor(colour).view(3, 1, 1) for colour in (BLUE, RED))
    return (1 - blue * blue_ink) * (1 - red * red_ink)


def _mosaic(tiles: Tensor) -> Tensor:
    """Tiles of shape `(n, 3, h, w)` side by side in about a square, with white lines between."""
    n, channels, height, width = tiles.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    framed = torch.ones(rows * columns, channels, height + 4, width + 4)
    framed[:n, :, 2:-2, 2:-2] = tiles
    grid = framed.view(rows, columns, channels, height + 4, width + 4).permute(2, 0, 3, 1, 4)
    return grid.reshape(channels, rows * (height + 4), columns * (width + 4))


def _fits(text: str, size: int) -> bool:
    return 4 * PEN * len(text) + PEN <= size and 6 * PEN <= size


def _write(picture: Tensor, text: str, top: int, left: int, size: int, shade: float) -> None:
    """Writes digits into the middle of a square cell, where they fit."""
    if not _fits(text, size):
        return
    gap = "0" * 5
    columns = [DIGITS[int(digit)][column::3] for digit in text for column in range(3)]
    for place in range(3 * len(text) - 3, 0, -3):
        columns.insert(place, gap)
    ink = torch.tensor([[pixel == "1" for pixel in column] for column in columns]).T
    ink = ink.repeat_interleave(PEN, 0).repeat_interleave(PEN, 1)
    height, width = ink.shape
    top, left = top + (size - height + 1) // 2, left + (size - width + 1) // 2
    picture[:, top : top + height, left : left + width].masked_fill_(ink, shade)
