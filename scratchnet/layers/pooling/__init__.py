"""Pooling: maximum, average, adaptive, p-norm, fractional, and its reverse."""

from scratchnet.layers.pooling.average_pooling import (
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
)
from scratchnet.layers.pooling.max_pooling import (
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)

__all__ = [
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
]
