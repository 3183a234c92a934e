"""Other digits made of the ones there are: turned, sheared, scaled and moved a little, each in its own way."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

__all__ = ["distort"]

TURN = 10.0  # degrees
SHEAR = 0.1
SCALE = 0.1
MOVE = 2.0  # pixels


def distort(images: Tensor) -> Tensor:
    """Distorts each image at random by up to `TURN`, `SHEAR`, `SCALE` and `MOVE`, drawing from torch's generator.

    Args:
        images: Shape (B, 1, H, W); what comes in from outside an image has the value of its first corner.
    """
    count, _, height, width = images.shape
    turn, shear, wider, higher, right, down = 2 * torch.rand(6, count, dtype=torch.float32) - 1
    angle = math.radians(TURN) * turn
    cosine, sine = angle.cos(), angle.sin()
    wider, higher = 1 + SCALE * wider, 1 + SCALE * higher
    # Of a pixel of the result: where in the image it comes from, in units of half the image.
    rows = [
        torch.stack([wider * cosine, SHEAR * shear - sine, 2 * MOVE / width * right], 1),
        torch.stack([sine, higher * cosine, 2 * MOVE / height * down], 1),
    ]
    maps = torch.stack(rows, 1).to(images)
    background = images[:, :, :1, :1]
    grid = affine_grid(maps, list(images.shape), align_corners=False)
    return grid_sample(images - background, grid, align_corners=False) + background
