"""From a network's builder to its finished training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from experiments import processes
from experiments.backend import BACKENDS, Backend
from experiments.formatting import in_line
from experiments.run import Run
from experiments.settings import Settings, as_plain_values
from experiments.training.learner import Learner, sgd
from experiments.training.length import Length
from experiments.training.loop import Training
from experiments.training.moment import Look
from experiments.training.task import Task

__all__ = ["summary", "train"]


def train(
    run: Run,
    build: Callable[[Backend], nn.Module],
    task: Task,
    settings: Settings,
    *,
    story: str = "",
    optimizer: Callable[[Backend, nn.Module, Settings], Optimizer] = sgd,
    penalty: Callable[[nn.Module], Tensor] | None = None,
    constrain: Callable[[nn.Module], None] | None = None,
    at_step: Look | None = None,
    at_evaluation: Look | None = None,
    learner: type[Learner] = Learner,
) -> Training:
    """Trains the network that ``build`` makes, of each backend that the settings name, in the folder of a run.

    What an earlier process began is continued; where it had ended, its state is loaded and nothing else is done.

    Args:
        run: The run, or one of its parts.
        build: Makes the network of a backend's layers.
        task: What it learns.
        settings: How.
        story: What happens, and what is to be seen of it: the first lines of TensorBoard's page on the run.
        optimizer: Makes the optimizer; by default SGD with the momentum of the settings.
        penalty: A term that is added to the loss, such as a norm of the weights.
        constrain: Puts the weights back, after each step, to where they may be.
        at_step: Looks at the network after each watched step.
        at_evaluation: Looks at the network after each evaluation.
        learner: What a step of training is, where it is another one.

    Returns:
        The training at its end, with ``results``, ``best`` and ``learners``.

    Raises:
        Interrupted: Ctrl-C was pressed; the state is saved.
        ExperimentError: The loss is no number any more, or the folder cannot be read or written to.
    """
    run.config |= as_plain_values(settings)
    if run.part_name and not run.reopened:
        run.write_json("part.json", run.config)
    task = task.to(settings.device)
    planned = Length.of(settings, len(task.train[1])).planned
    learners: list[Learner] = []
    for backend in BACKENDS[settings.backend]:
        torch.manual_seed(settings.seed)
        each = learner(
            backend, build, task, settings, planned, optimizer=optimizer, penalty=penalty, constrain=constrain
        )
        learners.append(each)
        each.model.load_state_dict(learners[0].model.state_dict())
    torch.manual_seed(settings.seed + processes.rank() * 2**32)  # of dropout and augmentation, other ones in each
    training = Training(learners, task, settings, run, story=story, at_step=at_step, at_evaluation=at_evaluation)
    finished = processes.share(lambda: run.finished)
    if run.reopened:
        training.resume()
    if not finished:
        training.fit()
        if run.part_name:
            run.write_json("summary.json", summary(training))
    describe(training)
    return training


def summary(training: Training) -> dict[str, Any]:
    """What ``summary.json`` says of a training: of the first network at its top, of each by name."""
    networks = {
        learner.name: {
            **{f"test_{name}": figure for name, figure in training.results[learner.name].items()},
            "seconds_in_steps": learner.seconds,
        }
        for learner in training.learners
    }
    first = training.learners[0].name
    found = {
        **{name: figure for name, figure in networks[first].items() if name.startswith("test_")},
        "best": {"step": training.best.step, **training.best.results[first]},
        "epochs": training.step / training.length.in_epoch,
        "steps": training.step,
        "seconds": training.seconds,
        "backend": training.settings.backend,
        "networks": networks,
    }
    return found if training.drift is None else {**found, "largest_drift": training.drift.largest}


def describe(training: Training) -> None:
    """Prints how a training went, a line for each network."""
    title = f"{training.run.part_name}  " if training.run.part_name else ""
    for learner in training.learners:
        figures = training.results[learner.name]
        ordered = dict(sorted(figures.items(), key=lambda figure: figure[0] != "accuracy"))
        said = [in_line(ordered, "test ")]
        each = 1000 * learner.seconds / training.step
        said.append(f"{learner.seconds:.1f} s in training steps, {each:.1f} ms each")
        print(f"{title}{learner.name:7}  {'  '.join(said)}")
    if training.drift is not None:
        kinds = ", ".join(f"{kind} {value:.1e}" for kind, value in training.drift.largest.items())
        print(f"{title}largest relative difference between the two: {kinds}")
