"""Models of torchvision: classification, segmentation, detection, video and optical flow."""

from __future__ import annotations

import inspect
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from experiments.data.vision import models
from reference.zoo.entry import Entry, Subject, normal, thin

__all__ = ["entries", "suppress"]

# The side of the images, where 64 is too short.
SIDES = {"inception_v3": 299, "vit_h_14": 56, "maxvit_t": 224}
# The shapes of videos, where (3, 8, 32, 32) is too short.
VIDEOS = {"s3d": (3, 13, 209, 209), **dict.fromkeys(("mvit_v1_b", "mvit_v2_s"), (3, 16, 224, 224))}
# Of the regions that detectors propose, the first so many are looked at.
FEWER_PROPOSALS = {"rpn_pre_nms_top_n_train": 100, "rpn_post_nms_top_n_train": 50, "box_batch_size_per_image": 8}


def entries() -> list[Entry]:
    """Lists the models by task; quantized ones have no gradients."""
    _replace_kernels()
    makers = {
        models: _classification,
        models.segmentation: _segmentation,
        models.detection: _detection,
        models.video: _video,
        models.optical_flow: _optical_flow,
    }
    return [
        Entry(f"torchvision.{name}", partial(make, name))
        for module, make in makers.items()
        for name in models.list_models(module=module)
    ]


def _replace_kernels() -> None:
    """Puts tensor operations in the place of torchvision's kernels, where these do not load."""
    if not import_module("torchvision.extension")._has_ops():
        boxes: Any = import_module("torchvision.ops.boxes")
        boxes.nms = suppress
        # torchvision's own tensor operations, which it would compile.
        pooling: Any = import_module("torchvision.ops.roi_align")
        pooling._roi_align = inspect.unwrap(pooling._roi_align)


def suppress(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Returns the indices of boxes that overlap no box of a higher score, in the order of their scores."""
    order = scores.argsort(descending=True)
    overlaps = import_module("torchvision.ops.boxes").box_iou(boxes[order], boxes[order]) > iou_threshold
    kept = torch.ones_like(order, dtype=torch.bool)
    for i in range(len(order)):
        if kept[i]:
            kept[i + 1 :] &= ~overlaps[i, i + 1 :]
    return order[kept]


def _model(name: str, **options: Any) -> torch.nn.Module:
    return thin(models.get_model(name, weights=None, **options))


def _classification(name: str) -> Subject:
    options: dict[str, Any] = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    side = SIDES.get(name, 64)
    if name.startswith("vit"):
        options["image_size"] = side
    model: Any = _model(name, num_classes=10, **options)
    if name.startswith("vgg"):
        # Two layers have 120 million of its numbers, whatever the side.
        head = model.classifier
        head[0], head[3], head[6] = nn.Linear(25088, 64), nn.Linear(64, 64), nn.Linear(64, 10)
    return Subject(model, (normal(2, 3, side, side),))


def _segmentation(name: str) -> Subject:
    return Subject(_model(name, weights_backbone=None, num_classes=5), (normal(2, 3, 64, 64),))


def _detection(name: str) -> Subject:
    generator = torch.Generator().manual_seed(2)
    targets = []
    for x in (4.0, 20.0):
        boxes = torch.tensor([[x, 8.0, x + 30, 50.0], [10.0, x, 40.0, x + 24]])
        corners, sides = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
        points = corners + sides * torch.rand(2, 17, 2, generator=generator)
        targets.append(
            {
                "boxes": boxes,
                "labels": torch.tensor([1, 2]),
                "masks": torch.randint(2, (2, 64, 64), dtype=torch.uint8, generator=generator),
                "keypoints": torch.cat([points, torch.ones(2, 17, 1)], dim=2),  # all of them visible
            }
        )
    options = {} if name.startswith("ssd") else {"min_size": 64, "max_size": 64}
    if "rcnn" in name:
        options |= FEWER_PROPOSALS
    model = _model(name, weights_backbone=None, num_classes=5, **options)
    return Subject(model, (list(normal(2, 3, 64, 64).sigmoid()), targets))


def _video(name: str) -> Subject:
    model: Any = _model(name, num_classes=10)
    if name.startswith("mvit"):
        model.blocks = thin(nn.Sequential(*model.blocks))
    return Subject(model, (normal(1, *VIDEOS.get(name, (3, 8, 32, 32))),))


def _optical_flow(name: str) -> Subject:
    first, second = normal(2, 1, 3, 128, 128).sigmoid()
    return Subject(_model(name), (first, second), {"num_flow_updates": 2})
