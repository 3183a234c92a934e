"""Records of a training: ``metrics.jsonl``, TensorBoard's files, and a progress bar.

A continued run appends at its checkpoint. Later records are cut off, or marked as void in TensorBoard's files, so
that no step appears twice.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from experiments.formatting import format_metrics
from experiments.run import Run
from experiments.training.dashboard import introduce, layout, project, show_answers
from experiments.training.evaluation import Evaluation
from experiments.training.learner import Learner
from experiments.training.task import Task
from scratchnet.monitor import Monitor
from scratchnet.monitor.open_writer import open_writer

__all__ = ["Journal", "TrainingProgress"]

SECONDS_BETWEEN_LINES = 15.0


class Journal:
    """Writes the records of a run; a context manager.

    Args:
        run: The run whose folder to write to.
        learners: The trained networks. With two, each has its own TensorBoard folder, and the run's folder has
            their drift.
        task: The task that they learn.
        description: First lines of the run's text page in TensorBoard.
        every: Steps between monitored steps.
        step: Training steps already done.
        steps: Total training steps.
        length: Length of ``metrics.jsonl`` at that step.
        tags: TensorBoard's scalar tags so far, by the folder that they are in.
    """

    def __init__(
        self,
        run: Run,
        learners: Sequence[Learner],
        task: Task,
        description: str,
        *,
        every: int,
        step: int,
        steps: int,
        length: int,
        tags: Mapping[str, Sequence[str]],
    ) -> None:
        self.run, self.learners, self.task, self.steps = run, learners, task, steps
        path = run.folder / "metrics.jsonl"
        self.tags: dict[str, set[str]] = {name: set(each) for name, each in tags.items()}
        self._writers: dict[str, SummaryWriter] = {}
        self._layouts: dict[str, Any] = {name: layout(each) for name, each in self.tags.items()}
        with ExitStack() as stack:
            self.metrics = stack.enter_context(path.open("r+b" if path.exists() else "xb"))
            self.digest = hashlib.sha256(self.metrics.read(length) if length else b"")
            self.metrics.truncate(length)
            self.monitors: dict[str, Monitor] = {}
            for learner in learners:
                folder = run.folder / learner.name if len(learners) > 1 else run.folder
                writer = self._open(folder, step)
                stack.callback(writer.close)
                monitor = Monitor(learner.model, learner.optimizer, writer, every=every, start_step=step)
                self.monitors[learner.name] = stack.enter_context(monitor)
            self.twin: SummaryWriter | None = None
            if len(learners) > 1:
                self.twin = self._open(run.folder, step)
                stack.callback(self.twin.close)
            if step == 0:
                for learner in learners:
                    introduce(self.writer(learner.name), run, learner, description)
            self.progress = stack.enter_context(TrainingProgress(run.part_name, step, steps))
            self._close = stack.pop_all()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close.__exit__(kind, error, trace)

    def writer(self, name: str) -> SummaryWriter:
        """Returns TensorBoard's writer of a network."""
        writer = self.monitors[name].writer
        assert isinstance(writer, SummaryWriter)
        return writer

    def log_step(self, step: int, epoch: int, lr: float, metrics: Mapping[str, Mapping[str, float]]) -> None:
        """Logs a training step: the metrics of its batch, by network name."""
        for name, own in metrics.items():
            self._write({"step": step, "epoch": epoch, "split": "train", "backend": name, **own, "lr": lr})
            self.monitors[name].step(**own)
        self.progress.show(step, f"epoch {epoch}  {format_metrics(next(iter(metrics.values())))}")

    def log_drift(self, step: int, difference: Mapping[str, Any]) -> None:
        """Logs the difference of two networks: ``loss``, and ``gradients`` and ``weights`` by parameter name."""
        assert self.twin is not None
        self._write({"step": step, "split": "twin", **difference})
        self.twin.add_scalar("twin/loss_difference", difference["loss"], step)
        for kind in ("gradient", "weight"):
            by_parameter = difference.get(f"{kind}s", {})
            for name, value in by_parameter.items():
                self.twin.add_scalar(f"twin_{kind}_difference/{name}", value, step)
            if by_parameter:
                self.twin.add_scalar(f"twin/largest_{kind}_difference", max(by_parameter.values()), step)

    def log_evaluation(
        self,
        step: int,
        epoch: int,
        results: Mapping[str, Mapping[str, float]],
        evaluations: Mapping[str, Evaluation],
    ) -> None:
        """Logs an evaluation, by network name, and lays out the charts that have curves by now."""
        for name, metrics in results.items():
            self._write({"step": step, "epoch": epoch, "split": "test", "backend": name, **metrics})
            show_answers(self.writer(name), self.task, evaluations[name], step)
            self.monitors[name].evaluate(step, **metrics, confusion=evaluations[name].confusion)
            self.progress.say(
                f"epoch {epoch}  step {step}/{self.steps}  {name:>7}  {format_metrics(metrics, 'test ')}"
            )

        for folder, writer in self._writers.items():
            if (charts := layout(self.tags[folder])) != self._layouts.get(folder):
                writer.add_custom_scalars(charts)
                self._layouts[folder] = charts

    def finish(self, step: int) -> None:
        """Adds the run to TensorBoard's table of hyperparameters; with ``--projector`` also the last hidden layer."""
        for learner in self.learners:
            if learner.settings.projector:
                project(self.writer(learner.name), self.task, learner, step)
            self.monitors[learner.name].hparams({**self.run.config, "backend": learner.name}, {})

    def flush(self) -> dict[str, Any]:
        """Writes all records to disk; returns the length and digest of ``metrics.jsonl``, and TensorBoard's tags."""
        for monitor in self.monitors.values():
            monitor.evaluate()  # without metrics it only writes pending records
        if self.twin is not None:
            self.twin.flush()
        self.metrics.flush()
        tags = {name: sorted(each) for name, each in self.tags.items()}
        return {"length": self.metrics.tell(), "sha256": self.digest.hexdigest(), "tags": tags}

    def _open(self, folder: Path, step: int) -> Any:
        """Opens TensorBoard's writer of a folder after a step, and records the tags of its scalars."""
        writer = open_writer(folder, step + 1 if step else 0)
        name = str(folder.relative_to(self.run.folder))
        self._writers[name], tags, write = writer, self.tags.setdefault(name, set()), writer.add_scalar

        def add_scalar(tag: str, *args: Any, **options: Any) -> None:
            tags.add(tag)
            write(tag, *args, **options)

        writer.add_scalar = add_scalar
        return writer

    def _write(self, row: Mapping[str, Any]) -> None:
        line = json.dumps(row).encode() + b"\n"
        self.metrics.write(line)
        self.digest.update(line)


class TrainingProgress:
    """Shows completed steps: a bar in a terminal, otherwise an occasional line; a context manager.

    Args:
        title: Name of the part, printed before each line; empty if there is only one.
        done: Steps already done.
        total: Total steps.
    """

    def __init__(self, title: str, done: int, total: int) -> None:
        self.title = f"{title}  " if title else ""
        self.console = Console(highlight=False, soft_wrap=True)
        self.total = total
        self.last_line = time.monotonic()
        self.bar: Progress | None = None
        if self.console.is_terminal:
            columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
            self.bar = Progress(*columns, console=self.console, transient=True)
            self.task = self.bar.add_task("", completed=done, total=total)

    def show(self, step: int, metrics: str) -> None:
        """Updates the bar, or prints a line if the last one is old."""
        if self.bar is not None:
            self.bar.update(self.task, completed=step, description=self.title + metrics)
        elif time.monotonic() - self.last_line > SECONDS_BETWEEN_LINES:
            self.say(f"step {step}/{self.total}  {metrics}")

    def say(self, line: str) -> None:
        """Prints a line above the bar."""
        self.console.print(self.title + line, markup=False)
        self.console.file.flush()
        self.last_line = time.monotonic()

    def __enter__(self) -> TrainingProgress:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()
