"""Rearrangement of channels and pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from scratchnet import functional as F

__all__ = ["PixelShuffle", "PixelUnshuffle"]


class PixelShuffle(torch.nn.PixelShuffle):
    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_shuffle(input, self.upscale_factor)


class PixelUnshuffle(torch.nn.PixelUnshuffle):
    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_unshuffle(input, self.downscale_factor)
