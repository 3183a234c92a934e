"""Imports `torchvision.datasets` and `torchvision.models` beside a CPU-only torch.

The package index has a CUDA build of torchvision. Its compiled operators do not load beside a CPU build of torch,
and the import fails with "operator torchvision::nms does not exist", because torchvision registers shapes for two
operators that are undefined. Defining their schemas suffices for datasets, transforms, models and utils, none of
which calls them.
"""

from __future__ import annotations

import torch

__all__ = ["datasets", "models"]

try:
    from torchvision import datasets, models
except RuntimeError as error:
    if "torchvision::nms" not in str(error):
        raise
    # Keep a reference: collecting the library removes its definitions.
    _SCHEMAS = torch.library.Library("torchvision", "FRAGMENT")
    for _name in ("nms", "qnms"):
        _SCHEMAS.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from torchvision import datasets, models
