"""Resampling of images."""

from __future__ import annotations

import torch
from torch import Tensor

from scratchnet import functional as F

__all__ = ["Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"]


class Upsample(torch.nn.Upsample):
    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            recompute_scale_factor=self.recompute_scale_factor,
        )


class UpsamplingNearest2d(Upsample, torch.nn.UpsamplingNearest2d):
    pass


class UpsamplingBilinear2d(Upsample, torch.nn.UpsamplingBilinear2d):
    pass
