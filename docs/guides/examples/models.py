"""A residual network of torchvision, and the same converted."""

from torch import nn

import scratchnet
from experiments.data.vision import models


def theirs() -> nn.Module:
    return models.resnet18(num_classes=10)


def ours() -> nn.Module:
    model = theirs()
    scratchnet.convert(model)
    return model
