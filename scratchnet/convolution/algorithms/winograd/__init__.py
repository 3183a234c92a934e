"""Convolution with 3 × 3 kernels by Winograd's minimal filtering."""
