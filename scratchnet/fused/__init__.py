"""Layers that meet often, as one op each, and the container that finds where they do.

What a layer hands on and nobody else sees is not worth a tensor of its own: the rectifier overwrites what comes before
it, and pooling leaves a quarter of it.
"""

from scratchnet.fused.pooled_convolution import conv2d_relu_max_pool2d
from scratchnet.fused.rectified_convolution import conv2d_relu

__all__ = ["conv2d_relu", "conv2d_relu_max_pool2d"]
