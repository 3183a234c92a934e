"""Trains a generative adversarial network: a generator draws digits, a discriminator tells them from real ones.

The generator never sees a digit. It learns only from the discriminator's score of its drawings, on which the
discriminator trains as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from experiments import processes
from experiments.backend import Backend
from experiments.chapters.gan.learner import FILMED, GAN, GANLearner
from experiments.digit_task import find_digits
from experiments.figures.pictures import pictures
from experiments.metrics.curves import read_curve
from experiments.models import mlp
from experiments.report_page import PREFIX, ReportPage
from experiments.run import Run
from experiments.settings import Settings, expect
from experiments.training import CallbackState, Task, Training, summary, train

__all__ = ["Config", "main"]

JUDGED = 500  # drawings to judge
SLOWER = 0.25  # learning rate of the discriminator relative to the generator's; at 1 the discriminator wins
FRAMES = 8  # evaluations in the figure 1_film
# Settings of the judge's training.
JUDGES: dict[str, Any] = {"max_steps": 300, "batch_size": 64, "lr": 0.05, "momentum": 0.9, "eval_every": 150}

LOOK_FOR = """
**duel** is the generator and the discriminator, **judge** a classifier that was trained on real digits.

1. **`1_film`** shows the generator's drawings from the same noise at several evaluations; **`drawn`** in the run
   `duel` shows more of them. **`2_nearest`** compares drawings with the most similar real digits: they are not
   copies.
2. **`loss/train`** is the discriminator's loss, **`metrics/generator_loss/train`** the generator's; neither reaches 0
   while both networks improve. **`accuracy/train`** is the discriminator's accuracy: at 50 % it cannot distinguish
   the drawings, near 100 % it has won, and the generator learns little.
3. **`metrics/distance/test`** is the distance between the judge's logits for {judged} drawings and as many real
   digits. Two sets of real digits have a distance of {least:.2f}.
"""


@dataclass(frozen=True)
class Config(Settings):
    """Trains a generator of digits and a discriminator against each other.

    Args:
        backend: Layers and gradients to use: scratch, this repository's; builtin, PyTorch's.
        channels: Channels of the generator's last hidden layer and of the discriminator's first.
        data: Folder with MNIST in torchvision's layout, or "sample" for the bundled digits; by default data/,
            downloading MNIST if possible.
    """

    backend: Literal["scratch", "builtin"] = "scratch"
    momentum: float = 0.5
    channels: int = 16
    data: str | None = None

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"max_steps": 300, "lr": 0.05, "eval_every": 50, "data": "sample"},
        "full": {"max_steps": 4000, "lr": 0.05, "eval_every": 500},
    }

    def check(self) -> None:
        super().check()
        expect(self.channels >= 1, "channels", "a whole number from 1 up", self.channels)
        expect(self.accumulate == 1, "accumulate", "1, because batch norm needs whole batches", self.accumulate)
        expect(not self.compile, "compile", "no --compile, which does not support this training step", "it")


def main(config: Config, run: Run | None = None) -> None:
    """Trains the judge, then the generator and the discriminator."""
    processes.expect_one("gan")
    digits = find_digits(config.data)
    config = replace(config, data=digits.source)
    run = run or Run.create(config, "gan")
    task = Task(
        (digits.train_images, digits.train_labels),
        (digits.test_images, digits.test_labels),
        criterion=lambda nn: nn.BCEWithLogitsLoss(),
        prepare=lambda images: images.unsqueeze(1).to(config.torch_dtype).div_(127.5).sub_(1),
    )
    judge = train_judge(run, task, config)
    real, others = (task.prepare(images[:JUDGED].to(config.device)) for images in (task.test[0], task.train[0]))
    baseline = distance(judge, others, real)
    with ReportPage(run, LOOK_FOR.format(judged=JUDGED, least=baseline)) as page:
        duel = train(
            run.part("duel"),
            lambda backend: GAN(backend, config.channels),
            task,
            config,
            optimizer=rates,
            at_evaluation=make_callback(judge, real),
            learner=GANLearner,
        )
        conclude(page, run, duel, task, baseline)


def rates(backend: Backend, model: nn.Module, settings: Settings) -> Optimizer:
    """Makes one optimizer for both networks, with a learning rate for each."""
    assert isinstance(model, GAN)
    assert settings.lr is not None
    groups = [
        {"params": list(model.generator.parameters()), "lr": settings.lr},
        {"params": list(model.discriminator.parameters()), "lr": SLOWER * settings.lr},
    ]
    return backend.optim.SGD(groups, momentum=settings.momentum)


def train_judge(run: Run, task: Task, config: Config) -> nn.Module:
    """Trains a digit classifier to judge drawings; it takes no part in the training of the GAN."""
    classification = replace(task, criterion=lambda nn: nn.NLLLoss())
    settings = replace(config, epochs=None, clip=None, patience=None, **JUDGES)
    return train(run.part("judge"), mlp, classification, settings).learners[0].model


@torch.no_grad()
def distance(judge: nn.Module, images: Tensor, others: Tensor) -> float:
    r"""Returns the Fréchet distance between a classifier's logits for two sets of images; 0 if they agree.

    With the means :math:`\mu, \mu'` and covariances :math:`C, C'` of the ten logits over the sets, it is

    .. math::
        \|\mu - \mu'\|^2 + \operatorname{tr}\bigl(C + C' - 2 (C^{1/2} C' C^{1/2})^{1/2}\bigr)

    Source: M. Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium",
    2017.
    """
    assert isinstance(judge, nn.Sequential)
    judge.eval()
    scores = [judge[:-1](each).double() for each in (images, others)]
    (mean, other_mean), (cov, other_cov) = [each.mean(0) for each in scores], [each.T.cov() for each in scores]
    values, vectors = torch.linalg.eigh(cov)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    both = torch.linalg.eigvalsh(root @ other_cov @ root).clamp(min=0).sqrt().sum()
    return ((mean - other_mean).square().sum() + cov.trace() + other_cov.trace() - 2 * both).item()


def make_callback(judge: nn.Module, real: Tensor) -> Callable[[CallbackState], dict[str, float]]:
    """Returns the callback that draws digits and measures their distance after each evaluation."""

    def callback(state: CallbackState) -> dict[str, float]:
        duel = state.learner
        assert isinstance(duel, GANLearner)
        drawn = duel.draw(JUDGED, duel.settings.seed)
        images = as_bytes(drawn[: FILMED * FILMED])
        duel.film = torch.cat((duel.film, images[None, :FILMED]))
        title = f"Drawn by the generator after {state.step} steps"
        rows = {str(row): part for row, part in enumerate(images.split(FILMED), 1)}
        state.writer.add_figure(f"{PREFIX}/drawn", pictures(title, rows, x="column", y="row"), state.step)
        return {"distance": distance(judge, drawn, real)}

    return callback


def as_bytes(images: Tensor) -> Tensor:
    """Converts images with values from -1 to 1 to bytes of shape (N, 28, 28)."""
    return ((images[:, 0] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu()


def conclude(page: ReportPage, run: Run, training: Training, task: Task, baseline: float) -> None:
    """Plots drawings over training and the nearest real digits, reports the results, and finishes the run."""
    duel = training.learners[0]
    assert isinstance(duel, GANLearner)
    between = training.length.between_evaluations
    chosen = torch.linspace(0, len(duel.film) - 1, min(FRAMES, len(duel.film))).round().long().tolist()
    steps = [min((frame + 1) * between, training.step) for frame in chosen]
    film = {f"{step}": duel.film[frame] for step, frame in zip(steps, chosen, strict=True)}
    page.figure(
        "1_film", pictures("Drawings from the same noise, over training", film, x="sample of noise", y="step")
    )
    drawn = duel.film[-1].double().flatten(1)
    images = task.train[0]
    distances = torch.cdist(drawn, images.double().flatten(1))
    nearest = distances.min(1)
    rows = {"drawn": duel.film[-1], "nearest": images[nearest.indices.cpu()]}
    page.figure("2_nearest", pictures("Drawings and the most similar real digits", rows, x="drawing", y="set"))

    result = training.results[duel.name]
    table = [("drawings", f"{result['distance']:.2f}"), ("other real digits", f"{baseline:.2f}")]
    head = ("images", "distance")
    page.table(
        "3_distances",
        f"distance between the judge's logits for {JUDGED} images and as many real digits",
        head,
        table,
    )
    page.conclude(
        [
            f"After {training.step} steps the distance of drawings from real digits is {result['distance']:.2f}, at "
            f"the first evaluation {read_curve(training.run, 'distance')[1][0]:.2f}; the distance of other real "
            f"digits is {baseline:.2f}.",
            f"The discriminator classifies {result['accuracy']:.1%} of test images and new drawings correctly.",
            f"The pixels of a drawing differ from those of the nearest real digit by "
            f"{nearest.values.mean().item() / 28:.1f} of 255 on average (root of the mean square).",
        ]
    )
    run.finish({**summary(training), "distance": result["distance"], "distance_of_real_digits": baseline})
