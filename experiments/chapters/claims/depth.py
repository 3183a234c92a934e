"""Measures how the gradient decreases toward the input of a deep network."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import nn

from experiments.backend import Backend
from experiments.chapters.claims.finding import Bench, Finding
from experiments.data.digits import normalize
from experiments.figures.curves import curves
from experiments.metrics.gradients import gradient_by_layer

__all__ = ["gradients_in_depth", "stack"]

WIDTH, IMAGES = 64, 256
DEPTHS, DEPTHS_OF_FULL = (4, 8, 16), (4, 8, 16, 32)
LEAST = 1e-40  # smallest norm to plot or divide by
# Glorot's scale for sigmoid and tanh, He's for ReLU and its variants.
GAINS = {"Sigmoid": 1.0, "Tanh": 1.0, "ReLU": math.sqrt(2), "LeakyReLU": math.sqrt(2), "ELU": math.sqrt(2)}


def stack(
    backend: Backend, activation: str, depth: int, width: int, make: type[nn.Module] | None = None
) -> nn.Module:
    """Builds a fully connected network with equal hidden layers and ten class scores.

    Args:
        backend: Backend of the layers.
        activation: Name of the activation, which determines the scale of the weights.
        depth: Number of hidden layers.
        width: Units in each.
        make: Makes the activation, if it is not the backend's of that name.
    """
    layers = backend.nn
    make = make or getattr(layers, activation)
    modules = OrderedDict(flatten=layers.Flatten())
    features = 784
    for at in range(1, depth + 1):
        linear = layers.Linear(features, width)
        nn.init.xavier_normal_(linear.weight, GAINS[activation])
        nn.init.zeros_(linear.bias)
        modules[f"linear{at}"], modules[f"activation{at}"] = linear, make()
        features = width
    modules["scores"] = layers.Linear(features, 10)
    nn.init.xavier_normal_(modules["scores"].weight)
    return layers.Sequential(modules)


def gradient_at_the_start(bench: Bench, activation: str, depth: int) -> list[float]:
    """Returns the gradient norm of each hidden layer's weights before training, first layer first."""
    torch.manual_seed(bench.seed)
    model = stack(bench.backend, activation, depth, WIDTH).to(bench.device)
    images = normalize(bench.digits.train_images[:IMAGES].to(bench.device), torch.float32)
    labels = bench.digits.train_labels[:IMAGES].to(bench.device)
    return gradient_by_layer(model, bench.backend.nn.CrossEntropyLoss(), images, labels)[:-1]


def gradients_in_depth(bench: Bench) -> Finding:
    """Compares the gradients of early and last layers for networks of increasing depth."""
    depths = DEPTHS_OF_FULL if bench.thorough else DEPTHS
    deepest = depths[-1]
    numbers: dict[str, float] = {}
    lines = {}
    for activation in ("Sigmoid", "Tanh", "ReLU"):
        for depth in depths:
            norms = gradient_at_the_start(bench, activation, depth)
            # Compare the second layer with the last, which has the same shape; the first one reads the pixels.
            numbers[f"{activation.lower()}_depth_{depth}"] = norms[-1] / max(norms[1], LEAST)
        lines[activation] = (range(1, deepest + 1), [max(norm, LEAST) for norm in norms])
    sigmoid, tanh = ([numbers[f"{name}_depth_{depth}"] for depth in depths] for name in ("sigmoid", "tanh"))
    grows = all(a < b for a, b in zip(sigmoid, sigmoid[1:], strict=False))
    suffers_less = all(a < b for a, b in zip(tanh, sigmoid, strict=True))
    return Finding(
        "sigmoid needs ever larger updates with depth; tanh suffers less",
        "true" if grows and suffers_less else "false",
        "the gradient of the second hidden layer's weights is smaller than the last one's by a factor of "
        + "; ".join(
            f"{s:.2g} with sigmoid, {t:.2g} with tanh at depth {depth}"
            for depth, s, t in zip(depths, sigmoid, tanh, strict=True)
        ),
        numbers,
        curves(
            f"Gradient of the weights by layer, {deepest} hidden layers, before training",
            lines,
            x="hidden layer, counted from the input",
            y="norm of the gradient",
            log="y",
        ),
    )
