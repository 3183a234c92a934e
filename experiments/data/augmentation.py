r"""Digits as other hands might have written them: each image of a batch shifted, turned and scaled a little.

.. math::
    y(p) = x(A p + t), \qquad A = s \begin{pmatrix} \cos\phi & -\sin\phi \\ \sin\phi & \cos\phi \end{pmatrix}

with an angle φ, a scale s and a shift t of its own for each image. Here p runs over the pixels, with the centre of
the image at 0; between the pixels of x lies their bilinear mean, and beyond its edge the edge goes on.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["jitter"]


def jitter(images: Tensor, *, shift: float = 2.0, degrees: float = 10.0, scale: float = 0.1) -> Tensor:
    """Moves each image at random, uniformly up to the given bounds; draws from torch's generator of the CPU.

    Args:
        images: Shape (B, C, H, W).
        shift: Pixels in each direction at most.
        degrees: Turn at most.
        scale: Relative change of size at most.
    """
    draw = (2 * torch.rand(4, len(images)) - 1).to(images)
    angle, size = math.radians(degrees) * draw[0], 1 + scale * draw[1]
    cosine, sine = size * angle.cos(), size * angle.sin()
    height, width = images.shape[2:]
    right, down = 2 * shift / width * draw[2], 2 * shift / height * draw[3]  # the image spans 2
    rows = torch.stack([cosine, -sine, right, sine, cosine, down], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(rows, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
