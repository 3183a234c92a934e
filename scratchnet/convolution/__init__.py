"""Convolution, and the windows it looks through."""

from scratchnet.convolution.convolution import Conv2d, conv2d

__all__ = ["Conv2d", "conv2d"]
