"""Trains a network to recognize handwritten digits, with hand-written gradients, PyTorch's, or both side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from experiments.backend import BUILTIN, CUSTOM
from experiments.data.digits import Digits, jitter, normalize
from experiments.digit_task import digit_task, find_digits
from experiments.errors import ExperimentError
from experiments.models import MODELS
from experiments.run import Run
from experiments.settings import Settings
from experiments.training import Task, summary, train
from scratchnet.testing import compare

__all__ = ["Config", "main"]

FULL_SET = 20_000  # a training set of this size needs only a few epochs
NOISE = 0.01
COMPARED = 8  # digits in the batch for comparing gradients

DESCRIPTION = (
    "A network learns to classify handwritten digits. Guessing has an accuracy of 10 % and a loss of log 10 = 2.3. "
    "Within the first hundred steps the loss falls below 1, and the first layer's filters take shape. The last "
    "mistakes are ones that people make too: 4 and 9, 3 and 5, 7 and 2."
)


@dataclass(frozen=True)
class Config(Settings):
    """Trains a network on MNIST.

    Without --data it uses data/, downloading MNIST if needed, or else a sample of 5000 digits that is part of
    the repository.

    Args:
        preset: quick shows the best network after a minute of training; full trains it, or the model that you
            name, to its best accuracy. Without a preset the cnn trains as in PyTorch's example.
        epochs: Passes over the training data; by default 3 for the full MNIST, 4 for the sample; for mlp 5 and
            15.
        lr: Highest learning rate of SGD, 0.05 by default, but 0.01 for twins of the cnn: at 0.05 rounding alone
            makes any two networks diverge.
        model: cnn, the network of PyTorch's MNIST example, which is the default; mlp, fully connected; or deep,
            a small one of four convolutions with batch norm and dropout.
        augment: Shift, rotate and scale the training digits at random.
        data: Folder with MNIST in torchvision's layout, or "sample" for the bundled digits.
    """

    preset: Literal["quick", "full"] | None = None
    model: Literal["mlp", "cnn", "deep"] | None = None
    augment: bool = False
    data: str | None = None

    PRESETS = {
        "quick": {"model": "deep", "augment": True, "max_steps": 150},
        "full": {"model": "deep", "augment": True, "epochs": 12, "batch_size": 128, "lr": 0.1},
    }
    FULL = {
        "mlp": {"augment": True, "epochs": 15},
        "cnn": {"augment": True, "epochs": 8},
    }

    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        """Returns the fields that each preset sets for the requested model."""
        return {**self.PRESETS, "full": self.FULL.get(self.model or "deep", self.PRESETS["full"])}


def main(config: Config, run: Run | None = None) -> None:
    digits = find_digits(config.data)
    config = filled_in(config, digits)
    length = f"{config.max_steps} steps" if config.epochs is None else f"{config.epochs} epochs"
    print(f"{config.model}, {config.backend}: {digits}, {length} on {config.device}")

    run = run or Run.create(config, "mnist", f"{config.model}-{config.backend}")
    if not run.reopened:
        check_gradients(digits, config)
    training = train(run, MODELS[str(config.model)], as_task(digits, config), config, description=DESCRIPTION)
    run.finish({**summary(training), "data": str(digits)})


def filled_in(config: Config, digits: Digits) -> Config:
    """Fills in the settings that depend on the digits or on each other."""
    config = replace(config, model=config.model or "cnn", data=digits.source)
    epochs = config.epochs
    if epochs is None and config.max_steps is None:
        full = len(digits.train_labels) >= FULL_SET
        # Enough for 99 % on the full set with the cnn and 98 % with the mlp; about 97 % and 95 % on the sample.
        epochs = {"mlp": 5 if full else 15}.get(str(config.model), 3 if full else 4)
    # The best learning rate; twins of the cnn need a lower one, because rounding changes their ReLUs and maxima.
    lr = 0.01 if (config.model, config.backend) == ("cnn", "twin") else 0.05
    return replace(config, epochs=epochs, lr=config.lr or lr)


def as_task(digits: Digits, config: Config) -> Task:
    return digit_task(
        digits,
        config.torch_dtype,
        criterion=lambda nn: nn.NLLLoss(),
        picture=lambda images: images / 255,
        augment=jitter if config.augment else (lambda images: images),
    )


def check_gradients(digits: Digits, config: Config) -> None:
    """Compares all gradients of the untrained network with PyTorch's on one batch in float64, and prints the result.

    Raises:
        ExperimentError: The gradients differ.
    """
    # Pooling selects among nearly equal values by their last bits, for which some seeds would fail in float32. Noise
    # breaks the ties between equal pixels of the blank background.
    custom, builtin = (
        MODELS[str(config.model)](backend).to(config.device, torch.float64) for backend in (CUSTOM, BUILTIN)
    )
    images = normalize(digits.train_images[:COMPARED].to(config.device), torch.float64)
    images = images + NOISE * torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).to(images)
    comparison = compare(
        custom,
        builtin,
        images,
        double_backward=False,
        forward_mode=False,
        vmap=False,
        name=str(config.model),
    )
    print(comparison)
    if not comparison.ok:
        raise ExperimentError(
            "the hand-written gradients differ from PyTorch's before training has begun; "
            "run python -m reference to find the wrong component"
        )
