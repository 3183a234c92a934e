"""Convolution, transposed convolution, and unfolding."""
