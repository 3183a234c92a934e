"""The training loop, for one network or for two that are compared."""

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
from experiments.training.drift import Drift
from experiments.training.evaluation import Best, Evaluation
from experiments.training.journal import Journal
from experiments.training.learner import Callback, CallbackState, Learner
from experiments.training.schedule import Length
from experiments.training.task import Batches, Task

__all__ = ["Training"]


class Training:
    """Trains one network, or two that start alike, and writes the results to the folder of a run.

    Two networks train on the same batches with the same random numbers. Their order alternates with each step, so
    that neither benefits more often from data that the other left in the cache.

    Args:
        learners: One or two networks.
        task: The task to learn.
        settings: Settings of the training.
        run: The run to write to.
        description: First lines of the run's text page in TensorBoard.
        at_step: Called after each monitored step.
        at_evaluation: Called after each evaluation.

    Attributes:
        step: Training steps done.
        results: Metrics of the last evaluation, by network name.
        best: The best evaluation so far.
        drift: Differences between two networks.
        seconds: Total time, including earlier processes of the same run.
    """

    def __init__(
        self,
        learners: Sequence[Learner],
        task: Task,
        settings: Settings,
        run: Run,
        *,
        description: str = "",
        at_step: Callback | None = None,
        at_evaluation: Callback | None = None,
    ) -> None:
        self.learners, self.task, self.settings, self.run = learners, task, settings, run
        self.description, self.at_step, self.at_evaluation = description, at_step, at_evaluation
        self.device = task.train[0].device
        self.examples = len(task.train[1])
        self.length = Length.of(settings, self.examples)
        self.step = self.evaluated = 0
        self.metrics: dict[str, Any] = {}
        self.seconds = 0.0
        self.results: dict[str, dict[str, float]] = {}
        self.best = Best(settings.patience)
        self.drift = Drift(learners[0], learners[1]) if len(learners) == 2 else None
        self.batches = Batches(task, settings)
        self._runs = {each.name: run if len(learners) == 1 else run.subfolder(each.name) for each in learners}
        self._journal: Journal | None = None  # only in the writer process
        self._interrupts = checkpoint.Interrupts()
        self._resumed_at = 0.0

    def fit(self) -> None:
        """Trains from the current step to the end.

        Raises:
            Interrupted: Ctrl-C was pressed; the state is saved.
            ExperimentError: The loss is not finite, or the folder cannot be written to.
        """
        with (
            writing(self.run.folder, f"free some space, then continue with: {self.run.resume_command()}"),
            self._open_journal() as self._journal,
            self._interrupts,
        ):
            self._resumed_at = time.monotonic() - self.seconds
            self._loop()
            if self._journal is not None:
                self._journal.finish(self.step)

    def _loop(self) -> None:
        while True:
            self._stop_if_interrupted()
            ended = self.step >= self.length.steps
            if self.evaluated < self.step and (ended or self.step % self.length.between_evaluations == 0):
                self._evaluate()
                self._save()
            elif self.step % self.settings.save_every == 0:
                self._save()
            if self.ended:
                break
            self._train()

    @property
    def ended(self) -> bool:
        return self.step >= self.length.steps or self.best.exhausted

    def _train(self) -> None:
        """Takes one training step of each network."""
        epoch, index = divmod(self.step, self.length.in_epoch)
        batch = self.batches.draw(epoch, index)
        self.step += 1
        monitored = (self.step - 1) % self.settings.every == 0 or self.step == self.length.steps
        if self.drift is not None:
            self.drift.record(monitored)
        lr = self.learners[0].optimizer.param_groups[0]["lr"]
        random = checkpoint.random_state(self.device)
        metrics = {}
        for learner in self.learners[:: 1 if self.step % 2 else -1]:
            checkpoint.restore_random_state(random, self.device)
            learner.monitored = monitored
            metrics[learner.name] = self._interrupts.mean(learner.step(*batch), batch.weight)
            if not math.isfinite(loss := metrics[learner.name]["loss"]):
                raise ExperimentError(
                    f"the loss of the {learner.name} network became {loss} at step {self.step}; "
                    f"choose a lower --lr than {self.settings.lr}"
                )
        in_order = {learner.name: metrics[learner.name] for learner in self.learners}
        difference = None
        if self.drift is not None:
            losses = [own["loss"] for own in in_order.values()]
            difference = self.drift.measure(*losses, by_parameter=monitored)
            if monitored and self._journal is not None and self._journal.twin is not None:
                self.drift.write_departure(self.step, self._journal.twin)
        if monitored:
            self._call_back(self.at_step, in_order)
        if self._journal is not None:
            self._journal.log_step(self.step, epoch + 1, lr, in_order)
            if difference is not None:
                self._journal.log_drift(self.step, difference)

    def _evaluate(self) -> None:
        """Evaluates each network on the test set."""
        evaluations = {}
        inputs, targets = (processes.my_part(tensor) for tensor in self.task.test)
        for learner in self.learners:
            processes.share_buffers(learner.model)
            parts = processes.gather(learner.evaluate(inputs, targets, self._stop_if_interrupted))
            evaluations[learner.name] = Evaluation.of_all(parts)
        metrics = {name: evaluation.metrics for name, evaluation in evaluations.items()}
        self._call_back(self.at_evaluation, metrics, evaluations)
        self.results = processes.share(lambda: metrics)
        self.evaluated = self.step
        if self.best.update(self.step, self.results) and processes.is_writer():
            models = {learner.name: learner.model.state_dict() for learner in self.learners}
            state = {"step": self.step, "results": self.results, "models": models}
            checkpoint.save(self.run, self.run.best, state)
        if self._journal is not None:
            epoch = math.ceil(self.step / self.length.in_epoch)
            self._journal.log_evaluation(self.step, epoch, self.results, evaluations)

    def _call_back(
        self,
        callback: Callback | None,
        metrics: dict[str, dict[str, float]],
        evaluations: Mapping[str, Evaluation] | None = None,
    ) -> None:
        """Calls the chapter's callback for each network, adds its metrics, and restores the random state."""
        if callback is None or self._journal is None:
            return
        random = checkpoint.random_state(self.device)
        for learner in self.learners:
            name = learner.name
            learner.model.eval()
            state = CallbackState(
                learner,
                self.step,
                self._journal.writer(name),
                self._runs[name],
                None if evaluations is None else evaluations[name],
            )
            found = callback(state) or {}
            metrics[name] |= {key: float(value) for key, value in found.items()}
            learner.model.train()
        checkpoint.restore_random_state(random, self.device)

    def _stop_if_interrupted(self) -> None:
        """Saves and stops after Ctrl-C; several processes stop after the same step."""
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
            state["metrics"] = self._journal.flush()
            checkpoint.save(self.run, self.run.checkpoint, state, keep=self.run.previous)

    def _open_journal(self) -> AbstractContextManager[Journal | None]:
        if not processes.is_writer():
            return nullcontext()
        return Journal(
            self.run,
            self.learners,
            self.task,
            self.description,
            every=self.settings.every,
            step=self.step,
            steps=self.length.steps,
            length=self.metrics.get("length", 0),
            tags=self.metrics.get("tags", {}),
        )

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of all processes as plain values and tensors."""
        return {
            "step": self.step,
            "epoch": self.step // self.length.in_epoch,
            "batch": self.step % self.length.in_epoch,
            "evaluated": self.evaluated,
            "examples": self.examples,
            "metrics": self.metrics,
            "seconds": self.seconds,
            "results": self.results,
            "best": self.best.state_dict(),
            "largest_drift": {} if self.drift is None else self.drift.largest,
            "random": processes.gather(checkpoint.random_state(self.device)),
            "learners": {learner.name: learner.state_dict() for learner in self.learners},
        }

    def resume(self) -> None:
        """Restores the last checkpoint.

        Raises:
            ExperimentError: The checkpoint is missing or damaged, or was made with other settings, data or
                processes, or by more steps than the run has.
        """
        state = checkpoint.load(self.run)
        try:
            self.load_state_dict(state)
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise checkpoint.refusal(self.run, checkpoint.Damage(self.run.checkpoint, error)) from error

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["examples"] != self.examples:
            raise ExperimentError(
                f"--resume: expected {state['examples']} training examples, as at the start of the run, "
                f"got {self.examples}; restore its data, or start a new run without --resume"
            )
        if len(state["random"]) != processes.size():
            raise ExperimentError(
                f"--resume: expected {len(state['random'])} processes, as at the start of the run, got "
                f"{processes.size()}; set torchrun --nproc-per-node"
            )
        if state["step"] > self.length.steps:
            raise ExperimentError(
                f"--resume: expected at least the {state['step']} steps that '{self.run.folder}' has done, got "
                f"{self.length.steps}; pass more --epochs or --max-steps"
            )
        for learner in self.learners:
            learner.load_state_dict(state["learners"][learner.name])
        self.step, self.evaluated = state["step"], state["evaluated"]
        self.metrics, self.seconds = state["metrics"], state["seconds"]
        self.results = state["results"]
        self.best.load_state_dict(state["best"])
        if self.drift is not None:
            self.drift.largest = state["largest_drift"]
        checkpoint.restore_random_state(state["random"][processes.rank()], self.device)
