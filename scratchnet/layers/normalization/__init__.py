"""Normalization: by batch, layer, group, instance, root mean square, neighbouring channels and norm."""

from scratchnet.layers.normalization.batch_norm import batch_norm
from scratchnet.layers.normalization.group_norm import group_norm
from scratchnet.layers.normalization.instance_norm import instance_norm
from scratchnet.layers.normalization.layer_norm import layer_norm
from scratchnet.layers.normalization.lp_normalize import normalize
from scratchnet.layers.normalization.response_norm import local_response_norm
from scratchnet.layers.normalization.rms_norm import rms_norm
from scratchnet.layers.normalization.weight_norm import weight_norm

__all__ = [
    "batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "local_response_norm",
    "normalize",
    "rms_norm",
    "weight_norm",
]
