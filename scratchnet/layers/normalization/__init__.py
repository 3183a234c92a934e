"""Normalization: by batch, layer, group, instance, root mean square, neighbouring channels and norm."""

from scratchnet.layers.normalization.batch_norm import BatchNorm1d, BatchNorm2d, BatchNorm3d, batch_norm
from scratchnet.layers.normalization.group_norm import GroupNorm, group_norm
from scratchnet.layers.normalization.instance_norm import (
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    instance_norm,
)
from scratchnet.layers.normalization.layer_norm import LayerNorm, layer_norm
from scratchnet.layers.normalization.lp_normalize import normalize
from scratchnet.layers.normalization.response_norm import LocalResponseNorm, local_response_norm
from scratchnet.layers.normalization.rms_norm import RMSNorm, rms_norm
from scratchnet.layers.normalization.weight_norm import weight_norm

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "LocalResponseNorm",
    "RMSNorm",
    "batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "local_response_norm",
    "normalize",
    "rms_norm",
    "weight_norm",
]
