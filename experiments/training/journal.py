"""What a training run writes as it goes: ``metrics.jsonl``, TensorBoard's records, and a progress bar.

A run that is continued writes on where its checkpoint stands; what came after that is cut off, or marked as void
in TensorBoard's files, so that no step is there twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from experiments.errors import ExperimentError
from experiments.formatting import in_line
from experiments.run import Run
from experiments.training.dashboard import introduce, introduce_twins, project, show_answers
from experiments.training.evaluation import Evaluation
from experiments.training.learner import Learner
from experiments.training.progress import TrainingProgress
from experiments.training.task import Task
from scratchnet.monitor import Monitor

__all__ = ["Journal"]


class Journal:
    """The records of a run; a context manager.

    Args:
        run: In whose folder to write.
        learners: Whose training this is. Of two, each has a folder for TensorBoard, and their drift a third.
        task: What they learn.
        story: What the page that introduces the run begins with.
        every: Steps between those that the monitor watches.
        step: Training steps done before.
        steps: Training steps to do in all.
        length: Length of ``metrics.jsonl`` after those done before.

    Raises:
        ExperimentError: ``metrics.jsonl`` is shorter than that.
    """

    def __init__(
        self,
        run: Run,
        learners: Sequence[Learner],
        task: Task,
        story: str,
        *,
        every: int,
        step: int,
        steps: int,
        length: int,
    ) -> None:
        self.run, self.learners, self.task, self.steps = run, learners, task, steps
        path = run.folder / "metrics.jsonl"
        present = path.stat().st_size if path.exists() else 0
        if present < length:
            raise ExperimentError(
                f"'{path}' is damaged: expected at least {length} bytes, its length at the last checkpoint, "
                f"got {present}; start a new run without --resume"
            )
        with ExitStack() as stack:
            self.metrics = stack.enter_context(path.open("ab"))
            self.metrics.truncate(length)
            self.monitors: dict[str, Monitor] = {}
            for learner in learners:
                folder = run.folder / learner.name if len(learners) > 1 else run.folder
                monitor = Monitor(learner.model, learner.optimizer, folder, every=every, start_step=step)
                self.monitors[learner.name] = stack.enter_context(monitor)
            self.twin: SummaryWriter | None = None
            if len(learners) > 1:
                self.twin = SummaryWriter(run.folder, purge_step=step + 1 if step else None)
                stack.callback(self.twin.close)
            if step == 0:
                for learner in learners:
                    introduce(self.writer(learner.name), run, learner, story)
                if self.twin is not None:
                    introduce_twins(self.twin)
            self.progress = stack.enter_context(TrainingProgress(run.part_name, step, steps))
            self._close = stack.pop_all()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close.__exit__(kind, error, trace)

    def writer(self, name: str) -> SummaryWriter:
        """Of TensorBoard's records of a network."""
        writer = self.monitors[name].writer
        assert isinstance(writer, SummaryWriter)
        return writer

    def trained(self, step: int, epoch: int, lr: float, figures: Mapping[str, Mapping[str, float]]) -> None:
        """Takes down a training step: loss, accuracy and what else there is of its batch, by name of network."""
        for name, own in figures.items():
            self._write({"step": step, "epoch": epoch, "split": "train", "backend": name, **own, "lr": lr})
            self.monitors[name].step(**own)
        self.progress.show(step, f"epoch {epoch}  {in_line(next(iter(figures.values())))}")

    def drifted(self, step: int, difference: Mapping[str, Any]) -> None:
        """Takes down by how much two networks differ: ``loss``, and by name ``gradients`` and ``weights``."""
        assert self.twin is not None
        self._write({"step": step, "split": "twin", **difference})
        self.twin.add_scalar("twin/loss_difference", difference["loss"], step)
        for kind in ("gradient", "weight"):
            for name, value in difference.get(f"{kind}s", {}).items():
                self.twin.add_scalar(f"twin_{kind}_difference/{name}", value, step)

    def evaluated(
        self,
        step: int,
        epoch: int,
        results: Mapping[str, Mapping[str, float]],
        evaluations: Mapping[str, Evaluation],
    ) -> None:
        """Takes down an evaluation, by name of network."""
        for name, figures in results.items():
            self._write({"step": step, "epoch": epoch, "split": "test", "backend": name, **figures})
            show_answers(self.writer(name), self.task, evaluations[name], step)
            self.monitors[name].evaluate(step, **figures, confusion=evaluations[name].confusion)
            self.progress.say(f"epoch {epoch}  step {step}/{self.steps}  {name:>7}  {in_line(figures, 'test ')}")

    def finished(self, step: int, results: Mapping[str, Mapping[str, float]]) -> None:
        """Enters the run into TensorBoard's table of hyperparameters, and shows its last hidden layer if asked to."""
        for learner in self.learners:
            if learner.settings.projector:
                project(self.writer(learner.name), self.task, learner, step)
            self.monitors[learner.name].hparams(
                {**self.run.config, "backend": learner.name}, results[learner.name]
            )

    def flush(self) -> int:
        """Puts all records on the disk; the length of ``metrics.jsonl``."""
        for monitor in self.monitors.values():
            monitor.evaluate()  # without figures it only writes out what is pending
        if self.twin is not None:
            self.twin.flush()
        self.metrics.flush()
        return self.metrics.tell()

    def _write(self, row: Mapping[str, Any]) -> None:
        self.metrics.write(json.dumps(row).encode() + b"\n")
