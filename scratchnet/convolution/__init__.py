"""Convolution and its transpose, the windows they look through, and the margins around images."""

from scratchnet.convolution.convolution import conv1d, conv2d, conv3d, conv_tbc
from scratchnet.convolution.padding import pad
from scratchnet.convolution.transposed import conv_transpose1d, conv_transpose2d, conv_transpose3d
from scratchnet.convolution.unfolding import fold, unfold

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_tbc",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "fold",
    "pad",
    "unfold",
]
