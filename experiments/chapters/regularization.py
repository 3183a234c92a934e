"""What closes the gap between training and test on few digits: small weights, noise, more data, stopping in time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from experiments.backend import BACKENDS, Backend
from experiments.data.augmentation import jitter
from experiments.data.digits import Digits
from experiments.digit_task import find_digits, reading_task
from experiments.figures.bars import bars
from experiments.figures.curves import Curve, curves
from experiments.metrics.curves import curve
from experiments.report_page import Album
from experiments.run import Run
from experiments.settings import Settings, expect
from experiments.training import Moment, Training, summary, train

__all__ = ["Config", "main"]


@dataclass(frozen=True)
class Remedy:
    """One way against learning by heart.

    Attributes:
        penalty: Of the weights, added to the loss: its name, and its strength.
        max_norm: Of the weights of each unit.
        dropout: Share of the hidden units that is dropped, half as many of the inputs.
        batch_norm: Whether hidden sums are normalised over the batch.
        jitter: Whether each epoch sees the digits moved, turned and scaled anew.
        patience: Evaluations without a better one after which it stops.
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

LEAST = 1e-7  # weight that is shown: less does not fit on a logarithmic axis
SHOWN = 200  # points of a curve of weights

LOOK_FOR = """
A large network and few digits: it learns them by heart. Each part has one remedy against that; `together` has several.

1. **`1_gap`**: the share that is right of the digits that a network learned from, and of those that it never saw. What
   lies between is learned by heart.
2. **`2_test_loss`**: without a remedy it rises again while the training loss still falls: the network grows ever surer
   of its mistakes. `early_stopping` ends there. (It stops by the test set, which here stands in for a third one.)
3. **`3_weights`**: the weights of the first layer in the order of their size. L1 makes most of them next to nothing, L2
   all of them small, a largest norm cuts off the top.
4. **`accuracy`** and `metrics/gap`: the same over time.
"""


@dataclass(frozen=True)
class Config(Settings):
    """Trains the same large network on few digits, with one remedy after another.

    Args:
        examples: Digits to learn from.
        hidden: Units in each of two hidden layers.
        data: Folder that holds MNIST as torchvision stores it, or "sample" for the bundled digits.
    """

    examples: int = 500
    hidden: int = 256
    data: str | None = None

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"epochs": 20, "lr": 0.05, "batch_size": 32, "eval_every": 32, "every": 160, "data": "sample"},
        "full": {"epochs": 60, "lr": 0.02, "batch_size": 32, "eval_every": 64, "examples": 1000, "hidden": 512},
    }

    def check(self) -> None:
        """Raises UsageError for a value out of range."""
        super().check()
        for name in ("examples", "hidden"):
            expect(getattr(self, name) >= 2, name, "a whole number from 2 up", getattr(self, name))


def main(config: Config, run: Run | None = None) -> None:
    """Trains with each remedy, then lays them over each other."""
    digits = find_digits(config.data)
    config = replace(config, data=digits.source)
    run = run or Run.create(config, "regularization")
    with Album(run, LOOK_FOR) as album:
        trained = {name: learn(run, name, remedy, digits, config) for name, remedy in REMEDIES.items()}
        conclude(album, run, config, trained)


def learn(run: Run, name: str, remedy: Remedy, digits: Digits, config: Config) -> Training:
    """Trains the network with one remedy."""
    augment: dict[str, Any] = {"augment": jitter} if remedy.jitter else {}
    task = reading_task(digits, config.torch_dtype, config.examples, **augment)
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
    """Fully connected, with two hidden layers and what the remedy puts between."""
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
    """What is to be kept small: the weights of the linear layers, not their biases."""
    return [parameter for parameter in model.parameters() if parameter.dim() == 2]


def gap(moment: Moment) -> dict[str, float]:
    """How much better the network is on what it learned from."""
    assert moment.evaluation is not None
    seen = moment.learner.evaluate(*moment.learner.task.train).figures
    return {
        "seen_accuracy": seen["accuracy"],
        "seen_loss": seen["loss"],
        "gap": seen["accuracy"] - moment.evaluation.figures["accuracy"],
    }


def conclude(album: Album, run: Run, config: Config, trained: Mapping[str, Training]) -> None:
    """Draws and says what came of it, and ends the run."""
    results = {name: training.results[training.learners[0].name] for name, training in trained.items()}
    pairs = {name: (each["seen_accuracy"], each["accuracy"]) for name, each in results.items()}
    of = ("digits learned from", "digits never seen")
    album.figure("1_gap", bars(f"The gap after learning from {config.examples} digits", pairs, of, "accuracy"))
    losses = {name: curve(training.run, "loss") for name, training in trained.items()}
    album.figure(
        "2_test_loss", curves("Loss on digits never seen", losses, x="training steps", y="test loss", log="y")
    )
    shown = {name: by_size(trained[name]) for name in ("none", "l1", "l2", "max_norm")}
    title = "Weights of the first layer, smallest first"
    album.figure("3_weights", curves(title, shown, x="share of the weights", y="absolute value", log="y"))

    shares = ("seen_accuracy", "accuracy", "gap")
    rows = [
        (name, *(f"{each[key]:.1%}" for key in shares), f"{each['loss']:.3f}", f"{trained[name].step}")
        for name, each in results.items()
    ]
    head = ("part", "seen", "never seen", "gap", "test loss", "steps")
    album.table("4_results", "the same network, with one remedy each", head, rows)
    best = max(results, key=lambda name: results[name]["accuracy"])
    least = min(results, key=lambda name: results[name]["gap"])
    lowest, turn = min(zip(*reversed(losses["none"]), strict=True))
    album.conclude(
        [
            f"Without a remedy the network is right on {results['none']['seen_accuracy']:.1%} of the digits it learned "
            f"from, on {results['none']['accuracy']:.1%} of others: a gap of {results['none']['gap']:.1%}.",
            f"The smallest gap, {results[least]['gap']:.1%}, has {least}; the most right on others, "
            f"{results[best]['accuracy']:.1%}, has {best}.",
            f"Early stopping ended after {trained['early_stopping'].step} of {trained['none'].step} steps. The loss on "
            f"others was lowest, {lowest:.3f}, at step {turn}; it ends at {results['none']['loss']:.3f} without it.",
        ]
    )
    run.finish({name: {**results[name], **summary(training)} for name, training in trained.items()})


def by_size(training: Training) -> Curve:
    """The first layer's weights in the order of their absolute values, thinned out."""
    (first, *_) = weights(training.learners[0].model)
    ordered = first.detach().abs().flatten().sort().values.clamp(min=LEAST)
    share = torch.linspace(0, 1, SHOWN)
    return share.tolist(), ordered[((len(ordered) - 1) * share).long()].tolist()
