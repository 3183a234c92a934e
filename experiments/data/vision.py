"""`torchvision.datasets` and `torchvision.models`, importable beside a CPU-only torch.

The package index carries a CUDA build of torchvision. Its compiled operators do not load where torch is built
for the CPU alone, and the import ends with "operator torchvision::nms does not exist", because torchvision
registers shapes for two operators that nobody has defined. Defining their schemas is enough for datasets,
transforms, models and utils, none of which calls them.
"""

from __future__ import annotations

import torch

__all__ = ["datasets", "models"]

try:
    from torchvision import datasets, models
except RuntimeError as error:
    if "torchvision::nms" not in str(error):
        raise
    # Held for the life of the module: a library that is collected takes its definitions with it.
    _SCHEMAS = torch.library.Library("torchvision", "FRAGMENT")
    for _name in ("nms", "qnms"):
        _SCHEMAS.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from torchvision import datasets, models
