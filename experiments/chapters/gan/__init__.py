"""Two networks against each other: one draws digits, the other tells them from real ones.

Nobody tells the generator what a digit looks like. All it learns from is what the discriminator makes of its
drawings, and the discriminator learns from these as well.
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
from experiments.chapters.gan.learner import FILMED, Duel, Rivals
from experiments.digit_task import find_digits
from experiments.figures.pictures import pictures
from experiments.metrics.curves import curve
from experiments.models import mlp
from experiments.report_page import STORY, Album
from experiments.run import Run
from experiments.settings import Settings, expect
from experiments.training import Moment, Task, Training, summary, train

__all__ = ["Config", "main"]

JUDGED = 500  # drawings that are judged
SLOWER = 0.25  # the discriminator's learning rate beside the generator's; as fast as it, it wins
FRAMES = 8  # evaluations of which the film shows the drawings
# How the judge learns to read.
JUDGES: dict[str, Any] = {"max_steps": 300, "batch_size": 64, "lr": 0.05, "momentum": 0.9, "eval_every": 150}

LOOK_FOR = """
**duel** is the generator and the discriminator, **judge** a network that learned to read real digits.

1. **`1_film`**: what the generator makes of the same noise, evaluation by evaluation. **`drawn`** in the run `duel` is
   the same, larger; **`2_nearest`** sets drawings beside the real digits that are most like them: not copies.
2. **`loss/train`** is the discriminator's, **`metrics/generator_loss/train`** the generator's; neither goes down to
   0 while both get better. **`accuracy/train`** is the discriminator's: at 50 % it cannot tell any more, near 100 %
   it has won, and the generator learns little.
3. **`metrics/distance/test`**: how differently the judge sees {judged} drawings and as many real digits. Two sets of
   real digits are {least:.2f} apart.
"""


@dataclass(frozen=True)
class Config(Settings):
    """Trains a generator of digits and a discriminator against each other.

    Args:
        backend: Whose layers and gradients: scratch, those of this repository; builtin, PyTorch's.
        channels: Of the generator's last hidden layer and the discriminator's first.
        data: Folder that holds MNIST as torchvision stores it, or "sample" for the bundled digits; by default data/,
            which is filled from the network where that is possible.
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
        """Raises UsageError for a value out of range."""
        super().check()
        expect(self.channels >= 1, "channels", "a whole number from 1 up", self.channels)
        expect(self.accumulate == 1, "accumulate", "1, as batch norm draws from whole batches", self.accumulate)
        expect(not self.compile, "compile", "no --compile, as each step takes the networks apart", "it")


def main(config: Config, run: Run | None = None) -> None:
    """Trains the judge, then the two against each other."""
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
    judge = appoint(run, task, config)
    real, others = (task.prepare(images[:JUDGED].to(config.device)) for images in (task.test[0], task.train[0]))
    least = distance(judge, others, real)
    with Album(run, LOOK_FOR.format(judged=JUDGED, least=least)) as album:
        duel = train(
            run.part("duel"),
            lambda backend: Rivals(backend, config.channels),
            task,
            config,
            optimizer=rates,
            at_evaluation=watching(judge, real),
            learner=Duel,
        )
        conclude(album, run, duel, task, least)


def rates(backend: Backend, model: nn.Module, settings: Settings) -> Optimizer:
    """One optimizer for both networks, with a learning rate for each."""
    assert isinstance(model, Rivals)
    assert settings.lr is not None
    groups = [
        {"params": list(model.generator.parameters()), "lr": settings.lr},
        {"params": list(model.discriminator.parameters()), "lr": SLOWER * settings.lr},
    ]
    return backend.SGD(groups, momentum=settings.momentum)


def appoint(run: Run, task: Task, config: Config) -> nn.Module:
    """A network that learned which digit is which, to judge drawings by; it takes no part in their training."""
    reading = replace(task, criterion=lambda nn: nn.NLLLoss())
    settings = replace(config, epochs=None, clip=None, patience=None, **JUDGES)
    return train(run.part("judge"), mlp, reading, settings).learners[0].model


@torch.no_grad()
def distance(judge: nn.Module, images: Tensor, others: Tensor) -> float:
    r"""How differently a judge sees two sets of images: 0 where it sees the same.

    It gives each image ten scores. With their means :math:`\mu, \mu'` and covariances :math:`C, C'` over the sets,
    this is Fréchet's distance of the two normal distributions,

    .. math::
        \|\mu - \mu'\|^2 + \operatorname{tr}\bigl(C + C' - 2 (C^{1/2} C' C^{1/2})^{1/2}\bigr)

    Source: M. Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", 2017.
    """
    assert isinstance(judge, nn.Sequential)
    judge.eval()
    scores = [judge[:-1](each).double() for each in (images, others)]
    (mean, other_mean), (cov, other_cov) = [each.mean(0) for each in scores], [each.T.cov() for each in scores]
    values, vectors = torch.linalg.eigh(cov)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    both = torch.linalg.eigvalsh(root @ other_cov @ root).clamp(min=0).sqrt().sum()
    return ((mean - other_mean).square().sum() + cov.trace() + other_cov.trace() - 2 * both).item()


def watching(judge: nn.Module, real: Tensor) -> Callable[[Moment], dict[str, float]]:
    """What is to be called after each evaluation: draws, shows, and asks the judge."""

    def look(moment: Moment) -> dict[str, float]:
        duel = moment.learner
        assert isinstance(duel, Duel)
        drawn = duel.draw(JUDGED, duel.settings.seed)
        shown = as_bytes(drawn[: FILMED * FILMED])
        duel.film = torch.cat((duel.film, shown[None, :FILMED]))
        title = f"Drawn by the generator after {moment.step} steps"
        rows = {str(row): images for row, images in enumerate(shown.split(FILMED), 1)}
        moment.writer.add_figure(f"{STORY}/drawn", pictures(title, rows, x="column", y="row"), moment.step)
        return {"distance": distance(judge, drawn, real)}

    return look


def as_bytes(images: Tensor) -> Tensor:
    """Images from -1 to 1 as bytes of shape (N, 28, 28)."""
    return ((images[:, 0] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu()


def conclude(album: Album, run: Run, training: Training, task: Task, least: float) -> None:
    """Shows the film and the nearest real digits, says how it went, and ends the run."""
    duel = training.learners[0]
    assert isinstance(duel, Duel)
    between = training.length.between_evaluations
    chosen = torch.linspace(0, len(duel.film) - 1, min(FRAMES, len(duel.film))).round().long().tolist()
    steps = [min((frame + 1) * between, training.step) for frame in chosen]
    film = {f"{step}": duel.film[frame] for step, frame in zip(steps, chosen, strict=True)}
    album.figure("1_film", pictures("The same noise, over training", film, x="sample of noise", y="step"))
    drawn = duel.film[-1].double().flatten(1)
    images = task.train[0]
    distances = torch.cdist(drawn, images.double().flatten(1))
    nearest = distances.min(1)
    rows = {"drawn": duel.film[-1], "nearest": images[nearest.indices.cpu()]}
    album.figure("2_nearest", pictures("Drawings, and the real digits most like them", rows, x="drawing", y="set"))

    result = training.results[duel.name]
    table = [("drawings", f"{result['distance']:.2f}"), ("other real digits", f"{least:.2f}")]
    head = ("images", "distance")
    album.table(
        "3_distances", f"how differently the judge sees {JUDGED} images and as many real digits", head, table
    )
    album.conclude(
        [
            f"After {training.step} steps drawings are {result['distance']:.2f} from real digits, as the judge sees "
            f"them, and at the first evaluation they were {curve(training.run, 'distance')[1][0]:.2f}; other real "
            f"digits are {least:.2f} from these.",
            f"The discriminator is right about {result['accuracy']:.1%} of test images and new drawings.",
            f"The pixels of a drawing differ from those of the nearest real digit by "
            f"{nearest.values.mean().item() / 28:.1f} of 255 on average (root of the mean square).",
        ]
    )
    run.finish({**summary(training), "distance": result["distance"], "distance_of_real_digits": least})
