"""Resampling of sequences, images and volumes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from reference.catalog.record import Beyond, Make, Record, Sample, bad, leaf, module_pairs, rounded_once
from scratchnet.nn import Upsample, UpsamplingBilinear2d, UpsamplingNearest2d
from scratchnet.resampling.interpolate import interpolate, upsample, upsample_bilinear, upsample_nearest
from scratchnet.resampling.resampling import ResampleFunction

__all__ = ["RECORDS"]


def images(make: Make) -> Iterator[Sample]:
    line, image, volume = make.normal(2, 2, 5), make.normal(1, 2, 4, 5), make.normal(1, 2, 3, 2, 2)
    for mode, corners in (
        ("bilinear", None),
        ("bilinear", True),
        ("bicubic", None),
        ("bicubic", True),
        ("nearest", None),
        ("nearest-exact", None),
        ("area", None),
    ):
        yield Sample((image, (3, 8)), {"mode": mode, "align_corners": corners})
        yield Sample((image,), {"scale_factor": (1.6, 0.7), "mode": mode, "align_corners": corners})
    for x, mode in (
        (line, "linear"),
        (line, "nearest"),
        (line, "area"),
        (volume, "trilinear"),
        (volume, "nearest"),
    ):
        yield Sample((x,), {"scale_factor": 2, "mode": mode})
    yield Sample((image,), {"scale_factor": 1.3, "mode": "bilinear", "recompute_scale_factor": True})
    for mode in ("bilinear", "bicubic", "lanczos"):
        yield Sample((image, (2, 7)), {"mode": mode, "antialias": True})
    yield Sample((image, (1, 1)), {"mode": "bilinear", "align_corners": True})
    yield Sample((leaf(image.detach().to(memory_format=torch.channels_last)), 6), {"mode": "bilinear"})
    yield Sample((leaf(make.normal(1, 2, 5, 4).mT), 6), {"mode": "bilinear"})
    yield Sample((leaf(make.normal(1, 1, 4, 5).expand(1, 2, 4, 5)), 6))
    yield Sample((make.normal(0, 2, 4, 5), 3))
    pixels = make.labels(1, 3, 6, 5, classes=256).to(torch.uint8)
    for mode in ("nearest", "nearest-exact", "bilinear", "bicubic"):
        yield Sample((pixels,), {"scale_factor": (1.7, 0.6), "mode": mode})
    for mode in ("bilinear", "bicubic", "lanczos"):
        yield Sample((pixels, (4, 9)), {"mode": mode, "antialias": True})


def few(make: Make, **options: Any) -> Iterator[Sample]:
    yield Sample((make.normal(1, 2, 2, 3),), {"scale_factor": 2, **options})
    yield Sample((make.normal(1, 2, 4, 5), (3, 2)), options)


IMAGE = torch.zeros(1, 2, 4, 5)

RECORDS = (
    Record(
        "interpolate",
        interpolate,
        rounded_once(F.interpolate),  # antialiasing has no short dtypes
        images,
        [ResampleFunction],
        beyond=[
            Beyond(
                "mode nearest on integers and booleans",
                lambda make: Sample((torch.tensor([[[True, False]]]), 4)),
                [[[True, True, False, False]]],
            )
        ],
        errors=[
            bad(ValueError, "either size or scale_factor", IMAGE),
            bad(ValueError, "either size or scale_factor", IMAGE, 2, 2.0),
            bad(ValueError, "expected 2 sizes", IMAGE, (2, 2, 2)),
            bad(ValueError, "expected 2 scale factors", IMAGE, scale_factor=(2.0,)),
            bad(ValueError, "no align_corners with mode 'nearest'", IMAGE, 2, align_corners=True),
            bad(ValueError, "no recompute_scale_factor", IMAGE, 2, recompute_scale_factor=True),
            bad(ValueError, "with antialias, got 'nearest'", IMAGE, 2, antialias=True),
            bad(NotImplementedError, "got 'trilinear'", IMAGE, 2, mode="trilinear"),
            bad(NotImplementedError, "got 'best'", IMAGE, 2, mode="best"),
            bad(NotImplementedError, "got 'lanczos'", torch.zeros(1, 2, 4), 2, mode="lanczos"),
            bad(ValueError, "'lanczos' with antialias=True", IMAGE, 2, mode="lanczos"),
            bad(NotImplementedError, "to be floating point", IMAGE.to(torch.uint8), 2, mode="area"),
            bad(NotImplementedError, "to be floating point", IMAGE.long(), 2, mode="bilinear"),
            bad(TypeError, "expected size to be an integer or a tuple", IMAGE, (2.5, 2)),
            bad(RuntimeError, "sizes of at least 1", IMAGE, 0, mode="bilinear"),
        ],
        modules=module_pairs(
            Upsample,
            nn.Upsample,
            {"scale_factor": 2},
            {"size": (2, 3), "mode": "bilinear"},
            {"scale_factor": (2, 3)},
        ),
    ),
    Record(
        "upsample",
        upsample,
        F.upsample,
        partial(few, mode="bicubic"),
        [ResampleFunction],
    ),
    Record(
        "upsample_nearest",
        upsample_nearest,
        F.upsample_nearest,
        few,
        [ResampleFunction],
        modules=module_pairs(UpsamplingNearest2d, nn.UpsamplingNearest2d, {"scale_factor": 2}),
    ),
    Record(
        "upsample_bilinear",
        upsample_bilinear,
        F.upsample_bilinear,
        few,
        [ResampleFunction],
        modules=module_pairs(UpsamplingBilinear2d, nn.UpsamplingBilinear2d, {"size": (2, 3)}),
    ),
)
