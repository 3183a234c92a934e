"""Compares remedies against overfitting on few digits: penalties, dropout, batch norm, augmentation, early stopping."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from experiments.backend import BACKENDS, Backend
from experiments.data.digits import Digits, jitter
from experiments.digit_task import digit_task, find_digits
from experiments.figures.bars import bars
from experiments.figures.curves import Curve, curves
from experiments.metrics.curves import read_curve
from experiments.report_page import ReportPage
from experiments.run import Run
from experiments.settings import Settings, expect
from experiments.training import CallbackState, Training, summary, train

__all__ = ["Config", "main"]


@dataclass(frozen=True)
class Remedy:
    """A remedy against overfitting.

    Attributes:
        penalty: Name and strength of a penalty on the weights that is added to the loss.
        max_norm: Maximum norm of the weights of each unit.
        dropout: Dropout probability of the hidden units; inputs have half of it.
        batch_norm: Whether hidden layers have batch norm.
        jitter: Whether training digits are shifted, rotated and scaled at random.
        patience: Number of evaluations without a lower loss after which training stops.
    """

    penalty: tuple[str, float] | None = None
    max_norm: float | None = None
    dropout: float = 0.0
    batch_norm: bool = False
    jitter: bool = False
    patience: int | None = None


REMEDIES = {
    "none": Remedy(),
    "l1": Remedy(penalty=("l1_penalty", 3e-4)),
    "l2": Remedy(penalty=("l2_penalty", 1e-2)),
    "max_norm": Remedy(max_norm=0.6),
    "dropout": Remedy(dropout=0.5),
    "batch_norm": Remedy(batch_norm=True),
    "augmentation": Remedy(jitter=True),
    "early_stopping": Remedy(patience=3),
    "together": Remedy(dropout=0.3, batch_norm=True, jitter=True),
}

LEAST = 1e-7  # smallest weight in a plot, because a logarithmic axis has no zero
POINTS = 200  # in a curve of weights

LOOK_FOR = """
A large network overfits few digits. Each part has one remedy against it; `together` has several.

1. **`1_gap`**: accuracy on the training digits and on the test digits. The gap between them is overfitting.
2. **`2_test_loss`**: without a remedy it rises again while the training loss still falls, because the network becomes
   more confident in its mistakes. `early_stopping` ends there. (It uses the test set, for lack of a validation set.)
3. **`3_weights`**: the sorted weights of the first layer. L1 makes most of them nearly 0, L2 makes all of them small,
   and a maximum norm limits the largest.
4. **`accuracy`** and `metrics/gap` show the same over training.
"""


@dataclass(frozen=True)
class Config(Settings):
    """Trains the same large network on few digits with each remedy.

    Args:
        examples: Number of training digits.
        hidden: Units in each of the two hidden layers.
        data: Folder with MNIST in torchvision's layout, or "sample" for the bundled digits.
    """

    examples: int = 500
    hidden: int = 256
    data: str | None = None

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"epochs": 20, "lr": 0.05, "batch_size": 32, "eval_every": 32, "every": 160, "data": "sample"},
        "full": {"epochs": 60, "lr": 0.02, "batch_size": 32, "eval_every": 64, "examples": 1000, "hidden": 512},
    }

    def check(self) -> None:
        super().check()
        for name in ("examples", "hidden"):
            expect(getattr(self, name) >= 2, name, "a whole number from 2 up", getattr(self, name))


def main(config: Config, run: Run | None = None) -> None:
    digits = find_digits(config.data)
    config = replace(config, data=digits.source)
    run = run or Run.create(config, "regularization")
    with ReportPage(run, LOOK_FOR) as page:
        trained = {name: learn(run, name, remedy, digits, config) for name, remedy in REMEDIES.items()}
        conclude(page, run, config, trained)


def learn(run: Run, name: str, remedy: Remedy, digits: Digits, config: Config) -> Training:
    augment: dict[str, Any] = {"augment": jitter} if remedy.jitter else {}
    task = digit_task(digits, config.torch_dtype, config.examples, **augment)
    penalties = BACKENDS[config.backend][0].penalties

    def penalty(model: nn.Module) -> Tensor:
        kind, strength = remedy.penalty or ("", 0.0)
        return strength * getattr(penalties, kind)(weights(model))

    def constrain(model: nn.Module) -> None:
        for weight in weights(model):
            penalties.max_norm_(weight, remedy.max_norm)

    return train(
        run.part(name),
        lambda backend: network(backend, remedy, config.hidden),
        task,
        replace(config, patience=remedy.patience),
        penalty=penalty if remedy.penalty else None,
        constrain=constrain if remedy.max_norm else None,
        at_evaluation=gap,
    )


def network(backend: Backend, remedy: Remedy, hidden: int) -> nn.Module:
    """Builds a fully connected network with two hidden layers and the layers of the remedy."""
    layer = backend.nn
    parts = OrderedDict[str, nn.Module](flatten=layer.Flatten())
    if remedy.dropout:
        parts["drop0"] = layer.Dropout(remedy.dropout / 2)
    before = 28 * 28
    for place in (1, 2):
        parts[f"fc{place}"] = layer.Linear(before, hidden)
        if remedy.batch_norm:
            parts[f"norm{place}"] = layer.BatchNorm1d(hidden)
        parts[f"relu{place}"] = layer.ReLU()
        if remedy.dropout:
            parts[f"drop{place}"] = layer.Dropout(remedy.dropout)
        before = hidden
    parts["fc3"] = layer.Linear(before, 10)
    return layer.Sequential(parts)


def weights(model: nn.Module) -> list[Tensor]:
    """Returns the weights of the linear layers, without biases."""
    return [parameter for parameter in model.parameters() if parameter.dim() == 2]


def gap(state: CallbackState) -> dict[str, float]:
    """Returns the metrics on the training set, and the gap in accuracy."""
    assert state.evaluation is not None
    seen = state.learner.evaluate(*state.learner.task.train).metrics
    return {
        "seen_accuracy": seen["accuracy"],
        "seen_loss": seen["loss"],
        "gap": seen["accuracy"] - state.evaluation.metrics["accuracy"],
    }


def conclude(page: ReportPage, run: Run, config: Config, trained: Mapping[str, Training]) -> None:
    """Reports the results, and finishes the run."""
    results = {name: training.results[training.learners[0].name] for name, training in trained.items()}
    pairs = {name: (each["seen_accuracy"], each["accuracy"]) for name, each in results.items()}
    of = ("training digits", "test digits")
    page.figure("1_gap", bars(f"Accuracy after training on {config.examples} digits", pairs, of, "accuracy"))
    losses = {name: read_curve(training.run, "loss") for name, training in trained.items()}
    page.figure("2_test_loss", curves("Loss on test digits", losses, x="training steps", y="test loss", log="y"))
    sizes = {name: by_size(trained[name]) for name in ("none", "l1", "l2", "max_norm")}
    title = "Weights of the first layer, smallest first"
    page.figure("3_weights", curves(title, sizes, x="share of the weights", y="absolute value", log="y"))

    shares = ("seen_accuracy", "accuracy", "gap")
    rows = [
        (name, *(f"{each[key]:.1%}" for key in shares), f"{each['loss']:.3f}", f"{trained[name].step}")
        for name, each in results.items()
    ]
    head = ("part", "training accuracy", "test accuracy", "gap", "test loss", "steps")
    page.table("4_results", "the same network, with one remedy each", head, rows)
    best = max(results, key=lambda name: results[name]["accuracy"])
    least = min(results, key=lambda name: results[name]["gap"])
    lowest, turn = min(zip(*reversed(losses["none"]), strict=True))
    page.conclude(
        [
            f"Without a remedy the accuracy is {results['none']['seen_accuracy']:.1%} on training digits and "
            f"{results['none']['accuracy']:.1%} on test digits: a gap of {results['none']['gap']:.1%}.",
            f"{least} has the smallest gap, {results[least]['gap']:.1%}; {best} has the highest test accuracy, "
            f"{results[best]['accuracy']:.1%}.",
            f"Early stopping ended after {trained['early_stopping'].step} of {trained['none'].step} steps. Without a "
            f"remedy the lowest test loss is {lowest:.3f}, at step {turn}, and the last {results['none']['loss']:.3f}.",
        ]
    )
    run.finish({name: {**results[name], **summary(training)} for name, training in trained.items()})


def by_size(training: Training) -> Curve:
    """Returns some of the first layer's weights, sorted by absolute value."""
    (first, *_) = weights(training.learners[0].model)
    ordered = first.detach().abs().flatten().sort().values.clamp(min=LEAST)
    share = torch.linspace(0, 1, POINTS)
    return share.tolist(), ordered[((len(ordered) - 1) * share).long()].tolist()
