"""Grid sampling and affine grids."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

import torch
import torch.nn.functional as F

from reference.catalog.record import Make, Record, Sample, bad, leaf, rounded_once
from scratchnet.resampling.grid_sample import AffineGridFunction, GridSampleFunction, affine_grid, grid_sample

__all__ = ["RECORDS"]

INFINITY = float("inf")


def grid_samples(make: Make) -> Iterator[Sample]:
    """Yields every mode and padding, with points inside, outside and far outside the image."""
    for mode, padding, corners in product(
        ("bilinear", "bicubic", "nearest"), ("zeros", "border", "reflection"), (False, True)
    ):
        options = {"mode": mode, "padding_mode": padding, "align_corners": corners}
        # In short dtypes PyTorch rounds the point, which can change the pixel that mode nearest reads.
        grid = make.uniform(2, 2, 3, 2, low=-1.8, high=1.8)
        smooth = mode != "nearest" or make.dtype is torch.float64
        yield Sample((make.normal(2, 2, 3, 4), grid if smooth else exact(make, 2)), options)
        if mode != "bicubic":
            volume = make.uniform(1, 2, 1, 2, 3, low=-1.4, high=1.4)
            yield Sample((make.normal(1, 2, 2, 3, 2), volume if smooth else exact(make, 3)), options)
    options = {"align_corners": False}
    yield Sample((make.normal(1, 1, 1, 1), make.uniform(1, 2, 2, 2, low=-1, high=1)), {"align_corners": True})
    image, grid = make.normal(2, 2, 3, 4), make.uniform(2, 2, 3, 2, low=-1, high=1)
    yield Sample((leaf(image.detach().to(memory_format=torch.channels_last)), grid), options)
    yield Sample((image, leaf(grid.detach().permute(3, 1, 2, 0).contiguous().permute(3, 1, 2, 0))), options)
    yield Sample((leaf(image.detach()[:1].expand(2, 2, 3, 4)), grid), options)
    yield Sample((image, grid.detach()), options)
    yield Sample((image.detach(), grid), options)
    yield Sample((make.normal(0, 2, 3, 4), make.normal(0, 2, 3, 2)), options)
    far = leaf(make.values(-5.25, 0.0, INFINITY, 0.5, -INFINITY, 0.0, 9.0, -7.0).detach().view(1, 2, 2, 2))
    yield Sample((make.normal(1, 2, 3, 4), far), {**options, "padding_mode": "border"}, smooth=False)


def exact(make: Make, dims: int) -> torch.Tensor:
    """Returns points that every dtype represents exactly, none halfway between pixels."""
    values = make.values(-1.5, -0.75, -0.25, 0.0, 0.25, 1.0, 1.25, 0.625, -0.125, 0.5, 0.75, -1.0)
    if dims == 2:
        return leaf(values.detach().view(1, 2, 3, 2).repeat(2, 1, 1, 1))
    return leaf(values.detach().repeat(2)[:18].view(1, 1, 2, 3, 3))


def affine_samples(make: Make) -> Iterator[Sample]:
    for corners in (False, True):
        yield Sample((make.normal(2, 2, 3), (2, 5, 3, 4)), {"align_corners": corners})
        yield Sample((make.normal(2, 3, 4), [2, 1, 2, 3, 2]), {"align_corners": corners})
        yield Sample((make.normal(1, 2, 3), torch.Size((1, 1, 1, 2))), {"align_corners": corners})
    yield Sample((leaf(make.normal(2, 3, 2).mT), (2, 1, 3, 2)), {"align_corners": False})


bad_grid = partial(bad, align_corners=False)
IMAGE, GRID, MAP = torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 3)

RECORDS = (
    Record(
        "grid_sample",
        grid_sample,
        F.grid_sample,
        grid_samples,
        [GridSampleFunction],
        builtin_lacks=frozenset({"forward mode"}),
        errors=[
            bad_grid(TypeError, "expected grid to be a tensor", IMAGE, [0.0]),
            bad_grid(ValueError, "expected a mode of", IMAGE, GRID, mode="linear"),
            bad_grid(ValueError, "and a padding_mode of", IMAGE, GRID, padding_mode="circular"),
            bad_grid(RuntimeError, "with grid (N, P, Q, 2)", IMAGE, GRID[..., :1]),
            bad_grid(RuntimeError, "with grid (N, P, Q, 2)", IMAGE[0], GRID),
            bad_grid(RuntimeError, "with grid (N, P, Q, 2)", IMAGE, GRID.expand(2, 2, 2, 2)),
            bad_grid(RuntimeError, "of one dtype", IMAGE, GRID.double()),
            bad_grid(
                RuntimeError,
                "an image with mode 'bicubic'",
                IMAGE[None],
                torch.zeros(1, 1, 1, 1, 3),
                mode="bicubic",
            ),
            bad_grid(RuntimeError, "an input with pixels", IMAGE[..., :0], GRID),
            bad_grid(NotImplementedError, "floating point", IMAGE.long(), GRID.long()),
        ],
    ),
    Record(
        "affine_grid",
        affine_grid,
        rounded_once(F.affine_grid),
        affine_samples,
        [AffineGridFunction],
        errors=[
            bad_grid(ValueError, "to be floating point", MAP.long(), (1, 1, 2, 2)),
            bad_grid(ValueError, "expected theta of shape (N, 2, 3)", MAP[0], (1, 1, 2, 2)),
            bad_grid(ValueError, "expected theta of shape (N, 3, 4)", MAP, (1, 1, 2, 2, 2)),
            bad_grid(NotImplementedError, "expected a size", MAP, (1, 1, 2)),
            bad_grid(ValueError, "expected sizes of at least 1", MAP, (1, 1, 0, 2)),
            bad_grid(RuntimeError, "one map for each of 2 samples", MAP, (2, 1, 2, 2)),
        ],
    ),
)
