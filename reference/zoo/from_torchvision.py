"""Models of torchvision: classification, segmentation, detection, video and optical flow."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from experiments.data.vision import models
from reference.zoo.entry import Entry, Subject, normal, thin

__all__ = ["entries"]

# The side of the images, where 64 is too short.
SIDES = {"inception_v3": 299, "vit_h_14": 56, "maxvit_t": 224}
# The shapes of videos, where (3, 8, 32, 32) is too short.
VIDEOS = dict.fromkeys(("s3d", "mvit_v1_b", "mvit_v2_s"), (3, 16, 224, 224))


def entries() -> list[Entry]:
    """Lists the models by task; quantized ones have no gradients."""
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


def _model(name: str, **options: Any) -> torch.nn.Module:
    return thin(models.get_model(name, weights=None, **options))


def _classification(name: str) -> Subject:
    options: dict[str, Any] = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    side = SIDES.get(name, 64)
    if name.startswith("vit"):
        options["image_size"] = side
    return Subject(_model(name, num_classes=10, **options), (normal(2, 3, side, side),))


def _segmentation(name: str) -> Subject:
    return Subject(_model(name, weights_backbone=None, num_classes=5), (normal(2, 3, 64, 64),))


def _detection(name: str) -> Subject:
    targets = []
    for x in (4.0, 20.0):
        boxes = torch.tensor([[x, 8.0, x + 30, 50.0], [10.0, x, 40.0, x + 24]])
        targets.append({"boxes": boxes, "labels": torch.tensor([1, 2])})
    resized = {"min_size": 64, "max_size": 64} if name.startswith(("retinanet", "fcos")) else {}
    model = _model(name, weights_backbone=None, num_classes=5, **resized)
    return Subject(model, (list(normal(2, 3, 64, 64).sigmoid()), targets))


def _video(name: str) -> Subject:
    return Subject(_model(name, num_classes=10), (normal(1, *VIDEOS.get(name, (3, 8, 32, 32))),))


def _optical_flow(name: str) -> Subject:
    first, second = normal(2, 1, 3, 128, 128).sigmoid()
    return Subject(_model(name), (first, second), {"num_flow_updates": 2})
