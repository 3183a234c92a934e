"""A network learns to read handwritten digits, with hand-written gradients, PyTorch's, or both side by side."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from experiments.backend import BUILTIN, CUSTOM, Backend
from experiments.data.digits import Digits, load_digits, normalize
from experiments.errors import ExperimentError
from experiments.learner import Learner, Task
from experiments.models import MODELS
from experiments.run import Run
from experiments.settings import Settings, as_plain_values, on_a_device
from experiments.training import Training, count_steps
from scratchnet.testing import compare

__all__ = ["Config", "main"]

BACKENDS: dict[str, list[Backend]] = {"scratch": [CUSTOM], "builtin": [BUILTIN], "twin": [CUSTOM, BUILTIN]}
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
        lr: Learning rate of SGD at its highest, 0.05 by default; it rises for a tenth of the steps and falls along a
            cosine. Of a cnn's twins it is 0.01: at 0.05 rounding alone drives any two networks apart.
        model: cnn, the network of PyTorch's MNIST example, or mlp, fully connected.
        backend: Whose layers and gradients: scratch, those of this repository; builtin, PyTorch's; twin, both from
            the same weights on the same batches, with a record of how far they drift apart.
        data: Folder that holds MNIST as torchvision stores it, or "sample" for the bundled digits.
    """

    model: Literal["mlp", "cnn"] = "cnn"
    backend: Literal["scratch", "builtin", "twin"] = "scratch"
    data: str | None = None


def main(config: Config, run: Run | None = None) -> None:
    """Trains from the start, or continues ``run``."""
    config = on_a_device(config)
    digits, notice = load_digits(config.data)
    if notice:
        print(notice)
    config = replace(config, data=digits.source, epochs=config.epochs or default_epochs(config.model, digits))
    config = replace(config, lr=config.lr or default_lr(config))
    print(f"{config.model}, {config.backend}: {digits}, {config.epochs} epochs on {config.device}")

    resumed = run is not None
    run = run or Run.create(config.runs, "mnist", f"{config.model}-{config.backend}", as_plain_values(config))
    learners = build_learners(config, examples=len(digits.train_labels))
    training = Training(learners, as_task(digits, config), config, run)
    if resumed:
        training.resume()
    else:
        check_gradients(digits, config)
    training.fit()
    report(training, config, digits)


def default_lr(config: Config) -> float:
    """What trains best; for twins of the cnn, whose ReLUs and maxima flip on the last bit, what is stable too."""
    return 0.01 if (config.model, config.backend) == ("cnn", "twin") else 0.05


def default_epochs(model: str, digits: Digits) -> int:
    """Enough for 99 % on the full set with the cnn and 98 % with the mlp; about 97 % and 95 % on the sample."""
    if len(digits.train_labels) >= FULL_SET:
        return 3 if model == "cnn" else 5
    return 4 if model == "cnn" else 15


def as_task(digits: Digits, config: Config) -> Task:
    """The digits on the device, to be normalised batch by batch."""
    device = torch.device(config.device or "cpu")
    train, test = (
        (images.to(device), labels.to(device))
        for images, labels in (
            (digits.train_images, digits.train_labels),
            (digits.test_images, digits.test_labels),
        )
    )
    return Task(train, test, prepare=lambda images: normalize(images, config.torch_dtype))


def build_learners(config: Config, examples: int) -> list[Learner]:
    """A network for each backend, all with the same weights, whichever backends there are."""
    in_epoch, _ = count_steps(config, examples)
    assert config.epochs is not None
    steps = config.epochs * in_epoch  # with --max-steps too, which takes the first steps of the same run
    learners = []
    for backend in BACKENDS[config.backend]:
        torch.manual_seed(config.seed)
        learners.append(Learner(backend, MODELS[config.model], config, steps))
        learners[-1].model.load_state_dict(learners[0].model.state_dict())
    torch.manual_seed(config.seed)  # of the dropout
    return learners


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


def report(training: Training, config: Config, digits: Digits) -> None:
    """Writes ``summary.json``, and says how it went and where to look."""
    run = training.run
    networks: dict[str, dict[str, float]] = {}
    for learner in training.learners:
        result, each = training.results[learner.name], learner.seconds / training.step
        networks[learner.name] = {
            "test_accuracy": result["accuracy"],
            "test_loss": result["loss"],
            "seconds_in_steps": learner.seconds,
        }
        print(
            f"{learner.name:7}  test accuracy {result['accuracy']:.2%}  test loss {result['loss']:.4f}  "
            f"{learner.seconds:.1f} s in training steps, {1000 * each:.1f} ms each"
        )
    first = networks[training.learners[0].name]
    summary: dict[str, Any] = {
        "test_accuracy": first["test_accuracy"],
        "test_loss": first["test_loss"],
        "epochs": config.epochs,
        "steps": training.step,
        "seconds": training.seconds,
        "backend": config.backend,
        "data": str(digits),
        "networks": networks,
    }
    if training.drift is not None:
        summary["largest_drift"] = training.drift.largest
        kinds = ", ".join(f"{kind} {value:.1e}" for kind, value in training.drift.largest.items())
        print(f"largest relative difference between the two: {kinds}")
    run.write_json("summary.json", summary)
    print(f"run folder: {run.folder}")
    print(f"to look at it: tensorboard --logdir {shlex.quote(str(run.folder))}")
