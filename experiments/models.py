"""The networks that read digits, built from either backend; both take (B, 1, 28, 28) and return (B, 10)."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from experiments.backend import Backend

__all__ = ["MODELS", "cnn", "mlp"]


def mlp(backend: Backend) -> nn.Module:
    """Fully connected, 784-512-256-10."""
    layer = backend.nn
    return layer.Sequential(
        OrderedDict(
            flatten=layer.Flatten(),
            fc1=layer.Linear(784, 512),
            relu1=layer.ReLU(),
            fc2=layer.Linear(512, 256),
            relu2=layer.ReLU(),
            fc3=layer.Linear(256, 10),
            log_softmax=layer.LogSoftmax(dim=1),
        )
    )


def cnn(backend: Backend) -> nn.Module:
    """The network of PyTorch's own MNIST example, with its names of parameters.

    Source: https://github.com/pytorch/examples/blob/main/mnist/main.py
    """
    layer = backend.nn
    return layer.Sequential(
        OrderedDict(
            conv1=layer.Conv2d(1, 32, 3),
            relu1=layer.ReLU(),
            conv2=layer.Conv2d(32, 64, 3),
            relu2=layer.ReLU(),
            pool=layer.MaxPool2d(2),
            dropout1=layer.Dropout(0.25),
            flatten=layer.Flatten(),
            fc1=layer.Linear(9216, 128),
            relu3=layer.ReLU(),
            dropout2=layer.Dropout(0.5),
            fc2=layer.Linear(128, 10),
            log_softmax=layer.LogSoftmax(dim=1),
        )
    )


MODELS = {"mlp": mlp, "cnn": cnn}
