"""Training steps of whole models as people write them.

Ours are converted from torch's by `scratchnet.convert`, except for the models that are written here, whose layers and
functions come from either library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import scratchnet.functional
import scratchnet.nn
from reference.speed.workload import Candidate, Workload
from reference.speed.workloads.steps import BATCH, ONE_BATCH, Task, TrainingStep
from scratchnet.conversion import convert
from scratchnet.testing import Comparison, compare

__all__ = ["IMAGES", "NETWORKS", "SENTENCES", "TOKENS", "WORKLOADS"]

NETWORKS = ("resnet18", "mobilenet_v2", "densenet121", "efficientnet_b0")
IMAGES = {"batch 2, 64×64": (2, 3, 64, 64), "batch 16, 128×128": (16, 3, 128, 128)}
TOKENS = {"(8,128,256)": (8, 128, 256)}
SENTENCES = {"batch 2, 128 tokens": (2, 128), "batch 16, 128 tokens": (16, 128)}
WORDS, CLASSES = 1000, 10

TORCH = SimpleNamespace(nn=nn, functional=F)
OURS = SimpleNamespace(nn=scratchnet.nn, functional=scratchnet.functional)


class Classifier(nn.Module):
    """The network of PyTorch's MNIST example, which calls functions for what has no parameters."""

    def __init__(self, library: Any) -> None:
        super().__init__()
        layers, self.F = library.nn, library.functional
        self.conv1, self.conv2 = layers.Conv2d(1, 32, 3), layers.Conv2d(32, 64, 3)
        self.dropout1, self.dropout2 = layers.Dropout(0.25), layers.Dropout(0.5)
        self.fc1, self.fc2 = layers.Linear(9216, 128), layers.Linear(128, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.F.relu(self.conv1(x))
        x = self.F.relu(self.conv2(x))
        x = self.dropout1(self.F.max_pool2d(x, 2))
        x = self.F.relu(self.fc1(torch.flatten(x, 1)))
        scores: Tensor = self.F.log_softmax(self.fc2(self.dropout2(x)), dim=1)
        return scores


class Block(nn.Module):
    """A block of GPT-2: attention to earlier tokens and a perceptron, each of a layer norm and added to its input."""

    def __init__(self, library: Any, width: int, heads: int = 4) -> None:
        super().__init__()
        layers, self.F, self.heads = library.nn, library.functional, heads
        self.norm1, self.norm2 = layers.LayerNorm(width), layers.LayerNorm(width)
        self.project, self.merge = layers.Linear(width, 3 * width), layers.Linear(width, width)
        self.widen, self.narrow = layers.Linear(width, 4 * width), layers.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, width = x.shape
        split = self.project(self.norm1(x)).view(batch, time, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        attended = self.F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.merge(attended.transpose(1, 2).reshape(batch, time, width))
        result: Tensor = x + self.narrow(self.F.gelu(self.widen(self.norm2(x)), approximate="tanh"))
        return result


class Reader(nn.Module):
    """An encoder as small as the smallest BERT, which classifies sentences by their first token."""

    def __init__(self, width: int = 128, heads: int = 2, depth: int = 2) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, width), nn.Embedding(512, width)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens) + self.places(torch.arange(tokens.shape[1]))
        scores: Tensor = self.head(self.encoder(x)[:, 0])
        return scores


def _library(candidate: Candidate) -> Any:
    return OURS if candidate.side == "custom" else TORCH


def _of_one_library(model: nn.Module, candidate: Candidate) -> nn.Module:
    if candidate.side == "custom":
        convert(model)
    return model


def written_out(shape: tuple[int, ...], candidate: Candidate) -> Task:
    library = _library(candidate)
    target = torch.randint(CLASSES, shape[:1])
    return Task(Classifier(library), library.functional.nll_loss, torch.randn(shape), target)


def classifying(name: str, shape: tuple[int, ...], candidate: Candidate) -> Task:
    from experiments.data.vision import models  # late: torchvision takes seconds

    model = _of_one_library(getattr(models, name)(num_classes=CLASSES), candidate)
    target = torch.randint(CLASSES, shape[:1])
    return Task(model, _library(candidate).functional.cross_entropy, torch.randn(shape), target)


def continuing(shape: tuple[int, ...], candidate: Candidate) -> Task:
    library = _library(candidate)
    return Task(Block(library, shape[-1]), library.functional.mse_loss, torch.randn(shape), torch.randn(shape))


def reading(shape: tuple[int, ...], candidate: Candidate) -> Task:
    model = _of_one_library(Reader(), candidate)
    tokens, target = torch.randint(WORDS, shape), torch.randint(CLASSES, shape[:1])
    return Task(model, _library(candidate).functional.cross_entropy, tokens, target)


def agree(make: Callable[[Candidate], Task], name: str) -> Comparison:
    """Compares output and gradients of both models in float64 and in evaluation mode.

    In training, statistics of two images are ill-conditioned, and random depth differs from call to call. The tolerance
    of a single op does not hold for a hundred layers; 10,000 roundings are 2e-12.
    """
    sides = []
    for side in ("custom", "builtin"):
        torch.manual_seed(0)
        task = make(Candidate(side))
        sides.append(task.model.double().eval())
    inputs = task.inputs.double() if task.inputs.is_floating_point() else task.inputs
    return compare(
        *sides,
        inputs,
        no_grad=False,
        double_backward=False,
        forward_mode=False,
        vmap=False,
        roundings=10_000,
        name=name,
    )


def model_steps(
    name: str, make: Callable[..., Task], sizes: Mapping[str, tuple[int, ...]], layouts: bool = False
) -> Iterator[Workload]:
    """Yields a workload for each size; both sides are compared at the first, which is the smallest."""
    compare_smallest = partial(agree, partial(make, next(iter(sizes.values()))), name)
    for size, shape in sizes.items():
        yield Workload(name, size, partial(TrainingStep, partial(make, shape)), compare_smallest, layouts=layouts)


WORKLOADS = (
    *model_steps("cnn module step", written_out, {ONE_BATCH: (BATCH, 1, 28, 28)}, layouts=True),
    *(w for name in NETWORKS for w in model_steps(f"{name} step", partial(classifying, name), IMAGES)),
    *model_steps("gpt block step", continuing, TOKENS),
    *model_steps("bert step", reading, SENTENCES),
)
