"""Kernels of 3 × 3 by Winograd's minimal filtering, tile by tile."""
