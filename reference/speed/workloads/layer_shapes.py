"""The convolutions of real networks: every layer shape of five of torchvision's, at three batch sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from reference.catalog import Make, Sample
from reference.speed.workload import Workload, op_workload

__all__ = ["BATCHES", "OP", "layer_shapes", "workloads"]

NETWORKS = ("resnet18", "mobilenet_v2", "densenet121", "efficientnet_b0", "convnext_tiny")
OP = "conv2d layer"
BATCHES = (2, 16, 64)
IMAGE = (3, 64, 64)

Shape = tuple[int, ...]


def layer_shapes() -> dict[str, tuple[Shape, nn.Conv2d]]:
    """Returns the distinct convolutions of the networks for images of 64 × 64, in words: (C, H, W) and the layer."""
    from experiments.data.vision import models  # late: torchvision takes seconds

    found: dict[str, tuple[Shape, nn.Conv2d]] = {}

    def note(layer: nn.Module, inputs: Any, _: Any) -> None:
        assert isinstance(layer, nn.Conv2d)
        shape = tuple(inputs[0].shape[1:])
        window = "×".join(map(str, layer.kernel_size))
        words = f"{shape}·{layer.out_channels}·{window}".replace(" ", "")
        words += f" stride={layer.stride[0]}" if layer.stride[0] > 1 else ""
        found.setdefault(words + (f" groups={layer.groups}" if layer.groups > 1 else ""), (shape, layer))

    with torch.device("meta"):
        for name in NETWORKS:
            network = getattr(models, name)()
            for layer in network.modules():
                if isinstance(layer, nn.Conv2d):
                    layer.register_forward_hook(note)
            network(torch.empty(2, *IMAGE))
    return found


def _sample(batch: int, shape: Shape, layer: nn.Conv2d, make: Make) -> Sample:
    weight = make.normal(*layer.weight.shape, scale=layer.weight[0].numel() ** -0.5)
    bias = None if layer.bias is None else make.normal(layer.out_channels)
    options = {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}
    return Sample((make.normal(batch, *shape), weight, bias), options)


def workloads() -> Iterator[Workload]:
    """Yields the workloads, which are too many for a table of all ops."""
    for batch in BATCHES:
        for words, found in layer_shapes().items():
            workload = op_workload("conv2d", f"batch {batch} {words}", partial(_sample, batch, *found))
            yield replace(workload, op=OP)
