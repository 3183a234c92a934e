"""The training loop, for one network or for two that are held against each other."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from experiments import processes
from experiments.errors import ExperimentError, Interrupted
from experiments.run import Run, writing
from experiments.settings import Settings
from experiments.training import checkpoint
from experiments.training.batches import Batches
from experiments.training.best import Best
from experiments.training.drift import Drift
from experiments.training.evaluation import Evaluation
from experiments.training.interrupts import Interrupts
from experiments.training.journal import Journal
from experiments.training.learner import Learner
from experiments.training.length import Length
from experiments.training.moment import Look, Moment
from experiments.training.task import Task

__all__ = ["Training"]


class Training:
    """Trains one network, or two alike, and writes all of it into the folder of a run.

    Two networks learn from the same batches with the same random numbers, and which of them goes first changes
    with each step, so that neither finds the other's data in the cache more often.

    Args:
        learners: The network, or the two.
        task: What is learned.
        settings: How.
        run: Where it is written down.
        story: What the page that introduces the run in TensorBoard begins with.
        at_step: Called after each watched step.
        at_evaluation: Called after each evaluation.

    Attributes:
        step: Training steps done.
        results: Loss, accuracy and what else there is on the test set by name of network, of the last evaluation.
        best: The best evaluation so far.
        drift: Of two networks, how far they have drifted apart.
        seconds: Spent in all, in this process and in those that it continues.
    """

    def __init__(
        self,
        learners: Sequence[Learner],
        task: Task,
        settings: Settings,
        run: Run,
        *,
        story: str = "",
        at_step: Look | None = None,
        at_evaluation: Look | None = None,
    ) -> None:
        self.learners, self.task, self.settings, self.run = learners, task, settings, run
        self.story, self.at_step, self.at_evaluation = story, at_step, at_evaluation
        self.device = task.train[0].device
        self.examples = len(task.train[1])
        self.length = Length.of(settings, self.examples)
        self.step = self.evaluated = self.metrics_length = 0
        self.seconds = 0.0
        self.results: dict[str, dict[str, float]] = {}
        self.best = Best(settings.patience)
        self.drift = Drift(learners[0], learners[1]) if len(learners) == 2 else None
        self.batches = Batches(task, settings)
        self._runs = {each.name: run if len(learners) == 1 else run.subfolder(each.name) for each in learners}
        self._journal: Journal | None = None  # of the writer alone
        self._interrupts = Interrupts()
        self._resumed_at = 0.0

    def fit(self) -> None:
        """Trains from where the state stands to the end.

        Raises:
            Interrupted: Ctrl-C was pressed; the state is saved.
            ExperimentError: The loss is no number any more, or the folder cannot be written to.
        """
        with (
            writing(self.run.folder, f"make room, then continue with: {self.run.resume_command()}"),
            self._open_journal() as self._journal,
            self._interrupts,
        ):
            self._resumed_at = time.monotonic() - self.seconds
            self._loop()
            if self._journal is not None:
                self._journal.finished(self.step, self.results)

    def _loop(self) -> None:
        while True:
            self._heed_interrupt()
            ended = self.step == self.length.steps
            if self.evaluated < self.step and (ended or self.step % self.length.between_evaluations == 0):
                self._evaluate()
                self._save()
            elif self.step % self.settings.save_every == 0:
                self._save()
            if ended or self.best.exhausted:
                break
            self._train()

    def _train(self) -> None:
        """One training step of each network."""
        epoch, index = divmod(self.step, self.length.in_epoch)
        batch = self.batches.draw(epoch, index)
        self.step += 1
        watched = (self.step - 1) % self.settings.every == 0 or self.step == self.length.steps
        if self.drift is not None:
            self.drift.look(watched)
        lr = self.learners[0].optimizer.param_groups[0]["lr"]
        random = checkpoint.random_state(self.device)
        figures = {}
        for learner in self.learners[:: 1 if self.step % 2 else -1]:
            checkpoint.restore_random_state(random, self.device)
            learner.watched = watched
            figures[learner.name] = self._interrupts.over_all(learner.step(*batch), batch.weight)
            if not math.isfinite(loss := figures[learner.name]["loss"]):
                raise ExperimentError(
                    f"the loss of the {learner.name} network became {loss} at step {self.step}; "
                    f"learn more slowly, with a lower --lr than {self.settings.lr}"
                )
        in_order = {learner.name: figures[learner.name] for learner in self.learners}
        difference = None
        if self.drift is not None:
            losses = [own["loss"] for own in in_order.values()]
            difference = self.drift.measure(*losses, by_parameter=watched)
            if watched and self._journal is not None and self._journal.twin is not None:
                self.drift.write_departure(self.step, self._journal.twin)
        if watched:
            self._look(self.at_step, in_order)
        if self._journal is not None:
            self._journal.trained(self.step, epoch + 1, lr, in_order)
            if difference is not None:
                self._journal.drifted(self.step, difference)

    def _evaluate(self) -> None:
        """Judges each network by the test set."""
        evaluations = {}
        inputs, targets = (processes.my_part(tensor) for tensor in self.task.test)
        for learner in self.learners:
            processes.share_buffers(learner.model)
            parts = processes.gather(learner.evaluate(inputs, targets, self._heed_interrupt))
            evaluations[learner.name] = Evaluation.of_all(parts)
        figures = {name: evaluation.figures for name, evaluation in evaluations.items()}
        self._look(self.at_evaluation, figures, evaluations)
        self.results = processes.share(lambda: figures)
        self.evaluated = self.step
        if self.best.take(self.step, self.results) and processes.is_writer():
            models = {learner.name: learner.model.state_dict() for learner in self.learners}
            checkpoint.save(self.run.best, {"step": self.step, "results": self.results, "models": models})
        if self._journal is not None:
            epoch = math.ceil(self.step / self.length.in_epoch)
            self._journal.evaluated(self.step, epoch, self.results, evaluations)

    def _look(
        self,
        look: Look | None,
        figures: dict[str, dict[str, float]],
        evaluations: Mapping[str, Evaluation] | None = None,
    ) -> None:
        """Has the chapter look at each network, adds what it found to the figures, and leaves no other trace."""
        if look is None or self._journal is None:
            return
        random = checkpoint.random_state(self.device)
        for learner in self.learners:
            name = learner.name
            learner.model.eval()
            moment = Moment(
                learner,
                self.step,
                self._journal.writer(name),
                self._runs[name],
                None if evaluations is None else evaluations[name],
            )
            found = look(moment) or {}
            figures[name] |= {key: float(value) for key, value in found.items()}
            learner.model.train()
        checkpoint.restore_random_state(random, self.device)

    def _heed_interrupt(self) -> None:
        """Saves and stops after Ctrl-C; of several processes all stop, after the step in which they heard of it."""
        if self._interrupts.pressed:
            self._save()
            raise Interrupted(
                f"interrupted at step {self.step} of {self.length.steps}, state saved; "
                f"continue with: {self.run.resume_command()}"
            )

    def _save(self) -> None:
        self.seconds = time.monotonic() - self._resumed_at
        state = self.state_dict()
        if self._journal is not None:
            state["metrics_length"] = self._journal.flush()
            checkpoint.save(self.run.checkpoint, state)

    def _open_journal(self) -> AbstractContextManager[Journal | None]:
        if not processes.is_writer():
            return nullcontext()
        return Journal(
            self.run,
            self.learners,
            self.task,
            self.story,
            every=self.settings.every,
            step=self.step,
            steps=self.length.steps,
            length=self.metrics_length,
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything that training changes, in all processes, as plain values and tensors."""
        return {
            "step": self.step,
            "epoch": self.step // self.length.in_epoch,
            "batch": self.step % self.length.in_epoch,
            "evaluated": self.evaluated,
            "examples": self.examples,
            "metrics_length": self.metrics_length,
            "seconds": self.seconds,
            "results": self.results,
            "best": self.best.state_dict(),
            "largest_drift": {} if self.drift is None else self.drift.largest,
            "random": processes.gather(checkpoint.random_state(self.device)),
            "learners": {learner.name: learner.state_dict() for learner in self.learners},
        }

    def resume(self) -> None:
        """Takes the training back to its last checkpoint.

        Raises:
            ExperimentError: The checkpoint is missing or damaged, or was made with other data or processes.
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
        if len(state["random"]) != processes.size():
            raise ExperimentError(
                f"--resume: expected as many processes as the run began with, {len(state['random'])}, got "
                f"{processes.size()}; torchrun --nproc-per-node sets it"
            )
        for learner in self.learners:
            learner.load_state_dict(state["learners"][learner.name])
        self.step, self.evaluated = state["step"], state["evaluated"]
        self.metrics_length, self.seconds = state["metrics_length"], state["seconds"]
        self.results = state["results"]
        self.best.load_state_dict(state["best"])
        if self.drift is not None:
            self.drift.largest = state["largest_drift"]
        checkpoint.restore_random_state(state["random"][processes.rank()], self.device)
