"""Kernels of 3 × 3 by Winograd's minimal filtering, tile by tile."""

from scratchnet.convolution.products.winograd.filtering import (
    Outputs,
    convolve,
    correlate,
    gradients,
    pays,
    spread,
)
from scratchnet.convolution.products.winograd.pixels import Pixels

__all__ = ["Outputs", "Pixels", "convolve", "correlate", "gradients", "pays", "spread"]
