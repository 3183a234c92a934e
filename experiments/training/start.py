"""Builds and trains the networks of a run, and summarizes the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from experiments import processes
from experiments.backend import BACKENDS, Backend
from experiments.formatting import format_metrics
from experiments.run import Run
from experiments.settings import Settings, as_plain_values
from experiments.threads import threads_for, work_of
from experiments.training.learner import Callback, Learner, sgd
from experiments.training.loop import Training
from experiments.training.schedule import Length
from experiments.training.task import Task

__all__ = ["summary", "train"]


def train(
    run: Run,
    build: Callable[[Backend], nn.Module],
    task: Task,
    settings: Settings,
    *,
    description: str = "",
    optimizer: Callable[[Backend, nn.Module, Settings], Optimizer] = sgd,
    penalty: Callable[[nn.Module], Tensor] | None = None,
    constrain: Callable[[nn.Module], None] | None = None,
    at_step: Callback | None = None,
    at_evaluation: Callback | None = None,
    learner: type[Learner] = Learner,
) -> Training:
    """Trains the network that ``build`` makes, for each backend of the settings, in the folder of a run.

    Continues an unfinished or prolonged run of an earlier process; of a finished one it only loads the state.

    Args:
        run: The run, or one of its parts.
        build: Builds the network from a backend's layers.
        task: The task to learn.
        settings: Settings of the training.
        description: First lines of the run's text page in TensorBoard: what happens and what to look at.
        optimizer: Makes the optimizer; SGD with the settings' momentum by default.
        penalty: Term to add to the loss, such as a norm of the weights.
        constrain: Called after each step to project the weights onto a constraint.
        at_step: Called after each monitored step.
        at_evaluation: Called after each evaluation.
        learner: Class that implements the training step.

    Returns:
        The finished training, with ``results``, ``best`` and ``learners``.

    Raises:
        Interrupted: Ctrl-C was pressed; the state is saved.
        ExperimentError: The loss is not finite, or the folder cannot be read or written to.
    """
    run.config |= as_plain_values(settings)
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
    work = work_of(learners[0].model, task.prepare(task.train[0][: settings.batch_size].clone()))
    # Each process has its own dropout and augmentation.
    torch.manual_seed(settings.seed + processes.rank() * 2**32)
    training = Training(
        learners, task, settings, run, description=description, at_step=at_step, at_evaluation=at_evaluation
    )
    finished = processes.share(lambda: run.finished)
    if run.reopened:
        training.resume()
    run.settle()
    if not (finished and training.ended):
        with threads_for(work):
            training.fit()
    if run.part_name:  # also of a finished part, whose file may be damaged
        run.write_json("summary.json", summary(training))
    describe(training)
    return training


def summary(training: Training) -> dict[str, Any]:
    """Returns the contents of ``summary.json``: results of the first network at the top, and of each by name."""
    networks = {
        learner.name: {
            **{f"test_{name}": value for name, value in training.results[learner.name].items()},
            "seconds_in_steps": learner.seconds,
        }
        for learner in training.learners
    }
    first = training.learners[0].name
    found = {
        **{name: value for name, value in networks[first].items() if name.startswith("test_")},
        "best": {"step": training.best.step, **training.best.results[first]},
        "epochs": training.step / training.length.in_epoch,
        "steps": training.step,
        "seconds": training.seconds,
        "backend": training.settings.backend,
        "networks": networks,
    }
    return found if training.drift is None else {**found, "largest_drift": training.drift.largest}


def describe(training: Training) -> None:
    """Prints the results, one line per network."""
    title = f"{training.run.part_name}  " if training.run.part_name else ""
    for learner in training.learners:
        metrics = training.results[learner.name]
        ordered = dict(sorted(metrics.items(), key=lambda item: item[0] != "accuracy"))
        results = format_metrics(ordered, "test ")
        each = 1000 * learner.seconds / training.step
        times = f"{learner.seconds:.1f} s in training steps, {each:.1f} ms each"
        print(f"{title}{learner.name:7}  {results}  {times}")
    if training.drift is not None:
        kinds = ", ".join(f"{kind} {value:.1e}" for kind, value in training.drift.largest.items())
        print(f"{title}largest relative difference between the two: {kinds}")
