"""Rearrangement of channels."""

from __future__ import annotations

import torch
from torch import Tensor

from scratchnet import functional as F

__all__ = ["ChannelShuffle"]


class ChannelShuffle(torch.nn.ChannelShuffle):
    def forward(self, input: Tensor) -> Tensor:
        return F.channel_shuffle(input, self.groups)
