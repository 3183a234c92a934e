"""One training loop for every experiment, for one network or for two that are held against each other.

It can be killed at any moment and continued from its last checkpoint: on a CPU the weights then become what they
would have been, to the last bit.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from experiments import checkpoint
from experiments.drift import Drift
from experiments.errors import ExperimentError, Interrupted
from experiments.journal import Journal
from experiments.learner import Learner, Task
from experiments.run import Run, writing
from experiments.settings import Settings

__all__ = ["Training", "count_steps", "order_of_epoch"]


def count_steps(settings: Settings, examples: int) -> tuple[int, int]:
    """Training steps in an epoch, and in all."""
    assert settings.epochs is not None
    in_epoch = math.ceil(examples / settings.batch_size)
    steps = settings.epochs * in_epoch
    return in_epoch, steps if settings.max_steps is None else min(steps, settings.max_steps)


def order_of_epoch(seed: int, epoch: int, examples: int) -> Tensor:
    """The order in which an epoch goes through the examples, the same on every device.

    It depends on the seed and the epoch alone, so that a checkpoint need not hold the state of a generator.
    """
    generator = torch.Generator().manual_seed(seed)
    epoch_seed = torch.randint(2**63 - 1, (epoch + 1,), generator=generator)[epoch]
    return torch.randperm(examples, generator=generator.manual_seed(int(epoch_seed)))


class Training:
    """Trains one network, or two alike, and writes all of it into the folder of a run.

    Two networks learn from the same batches with the same random numbers, and which of them goes first changes
    with each step, so that neither finds the other's data in the cache more often.

    Attributes:
        step: Training steps done.
        results: Loss and accuracy on the test set by name of network, of the last evaluation.
        drift: Of two networks, how far they have drifted apart.
        seconds: Spent in all, in this process and in those that it continues.
    """

    def __init__(self, learners: Sequence[Learner], task: Task, settings: Settings, run: Run) -> None:
        self.learners, self.task, self.settings, self.run = learners, task, settings, run
        self.device = task.train[0].device
        self.examples = len(task.train[1])
        self.steps_in_epoch, self.steps = count_steps(settings, self.examples)
        self.step = self.evaluated = self.metrics_length = 0
        self.seconds = 0.0
        self.results: dict[str, dict[str, float]] = {}
        self.drift = Drift(learners[0], learners[1]) if len(learners) == 2 else None
        self._order: tuple[int, Tensor] | None = None

    def fit(self) -> None:
        """Trains from where the state stands to the end.

        Raises:
            Interrupted: Ctrl-C was pressed; the state is saved.
            ExperimentError: The loss is no number any more, or the folder cannot be written to.
        """
        with (
            writing(self.run.folder, f"make room, then continue with: {self.run.resume_command()}"),
            Journal(
                self.run,
                self.learners,
                every=self.settings.every,
                step=self.step,
                steps=self.steps,
                length=self.metrics_length,
            ) as journal,
            interrupts() as interrupted,
        ):
            self._loop(journal, interrupted)

    def _loop(self, journal: Journal, interrupted: Callable[[], bool]) -> None:
        resumed_at = time.monotonic() - self.seconds

        def save() -> None:
            self.seconds = time.monotonic() - resumed_at
            self.metrics_length = journal.flush()
            checkpoint.save(self.run.checkpoint, self.state_dict())

        def heed_interrupt() -> None:
            if interrupted():
                save()
                raise Interrupted(
                    f"interrupted at step {self.step} of {self.steps}, state saved; "
                    f"continue with: {self.run.resume_command()}"
                )

        while True:
            heed_interrupt()
            at_end_of_epoch = self.step % self.steps_in_epoch == 0 or self.step == self.steps
            if at_end_of_epoch and self.evaluated < self.step:
                self._evaluate(journal, heed_interrupt)
                save()
            elif self.step % self.settings.save_every == 0:
                save()
            if self.step == self.steps:
                break
            self._train(journal)
        journal.finished(self.run.config, self.results)

    def _train(self, journal: Journal) -> None:
        """One training step of each network."""
        epoch, index = divmod(self.step, self.steps_in_epoch)
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, order_of_epoch(self.settings.seed, epoch, self.examples)
        start = index * self.settings.batch_size
        chosen = self._order[1][start : start + self.settings.batch_size].to(self.device)
        inputs, targets = self.task.prepare(self.task.train[0][chosen]), self.task.train[1][chosen]

        self.step += 1
        watched = (self.step - 1) % self.settings.every == 0 or self.step == self.steps
        if self.drift is not None:
            self.drift.look(watched)
        lr = self.learners[0].optimizer.param_groups[0]["lr"]
        random = checkpoint.random_state(self.device)
        figures = {}
        for learner in self.learners[:: 1 if self.step % 2 else -1]:
            checkpoint.restore_random_state(random, self.device)
            figures[learner.name] = learner.step(inputs, targets)
            if not math.isfinite(loss := figures[learner.name][0]):
                raise ExperimentError(
                    f"the loss of the {learner.name} network became {loss} at step {self.step}; "
                    f"learn more slowly, with a lower --lr than {self.settings.lr}"
                )
        in_order = {learner.name: figures[learner.name] for learner in self.learners}
        journal.trained(self.step, epoch + 1, lr, in_order)
        if self.drift is not None:
            losses = [loss for loss, _ in in_order.values()]
            journal.drifted(self.step, self.drift.measure(*losses, by_parameter=watched))
            if watched and journal.twin is not None:
                self.drift.departure(self.step, journal.twin)

    def _evaluate(self, journal: Journal, heed_interrupt: Callable[[], None]) -> None:
        """Judges each network by the test set."""
        evaluations = {learner.name: learner.evaluate(self.task, heed_interrupt) for learner in self.learners}
        self.evaluated = self.step
        self.results = {name: {"loss": e.loss, "accuracy": e.accuracy} for name, e in evaluations.items()}
        journal.evaluated(self.step, math.ceil(self.step / self.steps_in_epoch), evaluations)

    def state_dict(self) -> dict[str, Any]:
        """Everything that training changes, as plain values and tensors."""
        return {
            "step": self.step,
            "epoch": self.step // self.steps_in_epoch,
            "batch": self.step % self.steps_in_epoch,
            "evaluated": self.evaluated,
            "examples": self.examples,
            "metrics_length": self.metrics_length,
            "seconds": self.seconds,
            "results": self.results,
            "largest_drift": {} if self.drift is None else self.drift.largest,
            "random": checkpoint.random_state(self.device),
            "learners": {learner.name: learner.state_dict() for learner in self.learners},
        }

    def resume(self) -> None:
        """Takes the training back to its last checkpoint.

        Raises:
            ExperimentError: The checkpoint is missing or damaged, or was made with other data.
        """
        state = checkpoint.load(self.run.checkpoint)
        try:
            self.load_state_dict(state)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise checkpoint.damaged(self.run.checkpoint, error) from error

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes the training back to a state that `state_dict` gave."""
        if state["examples"] != self.examples:
            raise ExperimentError(
                f"--resume: expected the {state['examples']} training examples that the run began with, "
                f"got {self.examples}; restore its data, or start a new run without --resume"
            )
        for learner in self.learners:
            learner.load_state_dict(state["learners"][learner.name])
        self.step, self.evaluated = state["step"], state["evaluated"]
        self.metrics_length, self.seconds = state["metrics_length"], state["seconds"]
        self.results = state["results"]
        if self.drift is not None:
            self.drift.largest = state["largest_drift"]
        checkpoint.restore_random_state(state["random"], self.device)


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Makes Ctrl-C a question to ask instead of an exception, which could leave a step half done.

    A second Ctrl-C is an exception again.
    """
    pressed = False

    def press(number: int, frame: object) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, previous)
