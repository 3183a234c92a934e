"""A network learns to read handwritten digits, with hand-written gradients, PyTorch's, or both side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch

from experiments import processes
from experiments.backend import BUILTIN, CUSTOM
from experiments.data.digits import Digits, load_digits, normalize
from experiments.errors import ExperimentError
from experiments.models import MODELS
from experiments.run import Run
from experiments.settings import Settings
from experiments.training import Task, summary, train
from scratchnet.testing import compare

__all__ = ["Config", "main"]

FULL_SET = 20_000  # training digits from which a few epochs are enough
NOISE = 0.01
COMPARED = 8  # digits in the batch on which gradients are compared


@dataclass(frozen=True)
class Config(Settings):
    """Trains a network on MNIST.

    Without --data it learns from data/, which it fills from the network if need be, and failing that from a sample
    of 5000 digits that comes with the repository.

    Args:
        epochs: Passes over the training data; by default 3 for the full MNIST, 4 for the sample; for mlp 5 and 15.
        lr: Learning rate of SGD at its highest, 0.05 by default. Of a cnn's twins it is 0.01: at 0.05 rounding alone
            drives any two networks apart.
        model: cnn, the network of PyTorch's MNIST example, or mlp, fully connected.
        data: Folder that holds MNIST as torchvision stores it, or "sample" for the bundled digits.
    """

    preset: Literal["quick", "full"] | None = None
    model: Literal["mlp", "cnn"] = "cnn"
    data: str | None = None


def main(config: Config, run: Run | None = None) -> None:
    """Trains from the start, or continues ``run``."""
    digits, notice = processes.writer_first(lambda: load_digits(config.data))
    if notice:
        print(notice)
    config = replace(config, data=digits.source, epochs=config.epochs or default_epochs(config.model, digits))
    config = replace(config, lr=config.lr or default_lr(config))
    print(f"{config.model}, {config.backend}: {digits}, {config.epochs} epochs on {config.device}")

    run = run or Run.create(config, "mnist", f"{config.model}-{config.backend}")
    if not run.reopened:
        check_gradients(digits, config)
    training = train(run, MODELS[config.model], as_task(digits, config), config)
    run.finish({**summary(training), "data": str(digits)})


def default_lr(config: Config) -> float:
    """What trains best; for twins of the cnn, whose ReLUs and maxima flip on the last bit, what is stable too."""
    return 0.01 if (config.model, config.backend) == ("cnn", "twin") else 0.05


def default_epochs(model: str, digits: Digits) -> int:
    """Enough for 99 % on the full set with the cnn and 98 % with the mlp; about 97 % and 95 % on the sample."""
    if len(digits.train_labels) >= FULL_SET:
        return 3 if model == "cnn" else 5
    return 4 if model == "cnn" else 15


def as_task(digits: Digits, config: Config) -> Task:
    """The digits, to be normalised batch by batch."""
    return Task(
        train=(digits.train_images, digits.train_labels),
        test=(digits.test_images, digits.test_labels),
        prepare=lambda images: normalize(images, config.torch_dtype),
    )


def check_gradients(digits: Digits, config: Config) -> None:
    """Prints how the gradients of the whole network compare with PyTorch's on one batch, before it trains.

    Raises:
        ExperimentError: they differ.
    """
    custom, builtin = (
        MODELS[config.model](backend).to(config.device, config.torch_dtype) for backend in (CUSTOM, BUILTIN)
    )
    images = normalize(digits.train_images[:COMPARED].to(config.device), config.torch_dtype)
    # Blank background makes windows of equal values, of which pooling picks one by the last bit: noise unties them.
    images = images + NOISE * torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).to(images)
    comparison = compare(
        custom, builtin, images, double_backward=False, forward_mode=False, vmap=False, name=config.model
    )
    print(comparison)
    if not comparison.ok:
        raise ExperimentError(
            "the hand-written gradients differ from PyTorch's before training has begun; "
            "python -m reference tells which component is at fault"
        )
