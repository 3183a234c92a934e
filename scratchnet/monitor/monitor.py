"""The monitor: what a training loop calls. The package's docstring lists what it writes."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from types import TracebackType
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.optim import Optimizer

from scratchnet.arguments import describe
from scratchnet.monitor.open_writer import open_writer
from scratchnet.monitor.optimizer_hooks import OptimizerHooks
from scratchnet.monitor.pictures import confusion_picture
from scratchnet.monitor.processes import Unreadable, all_watch, plain
from scratchnet.monitor.watched_step import WatchedStep, Writer

__all__ = ["Monitor"]

MOST_PENDING = 100


class Record(NamedTuple):
    """The scalars of one step, not yet read: reading a loss makes the host wait for the GPU."""

    step: int
    walltime: float
    scalars: dict[str, float | Tensor]


class Monitor:
    """Watches a module train, and writes TensorBoard records; `scratchnet.monitor` has the table of tags.

    Construct it before the first step, call `step` after each training step and `evaluate` after each
    evaluation, and close it, which leaves the module and the optimizer as they were. Only training passes are
    looked at: the module in training mode and gradients enabled.

    Args:
        module: The network; any module, with any outputs. Frozen parameters are left out, and those without a
            gradient have none shown; a shared parameter counts once. A module that is called several times in
            a step gets one figure for all of its calls, weighted by their size.
        optimizer: What changes the weights, or several in a list. Without it there is no learning rate and no
            update-to-weight ratio, and gradients are read in `step`, so leave them there until then.
        writer: A `torch.utils.tensorboard.SummaryWriter`, anything with its methods, or the folder for one. A
            writer made from a folder is closed by the monitor, a given one is not. None writes nothing, in all
            processes but one.
        every: Watch the first step and then each ``every``-th: 1, 1 + every, 1 + 2 · every, …
        start_step: Steps done before, where a run is resumed: the next step is ``start_step + 1``. With a
            folder as writer, TensorBoard forgets what an interrupted run wrote after ``start_step``.

    Attributes:
        global_step: Training steps done, which is the step that scalars are written at.

    Raises:
        ImportError: If a folder is given and tensorboard is not installed.
        TypeError: If the module, the optimizer or the writer is something else.
        ValueError: If ``every`` is below 1 or ``start_step`` below 0.

    Example:
        >>> import tempfile, torch
        >>> from scratchnet.monitor import Monitor
        >>> model = torch.nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with tempfile.TemporaryDirectory() as runs, Monitor(model, optimizer, runs, every=10) as monitor:
        ...     for _ in range(20):
        ...         optimizer.zero_grad()
        ...         loss = model(torch.randn(8, 2)).square().mean()
        ...         loss.backward()
        ...         optimizer.step()
        ...         monitor.step(loss=loss)
        >>> monitor.global_step
        20
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer] | None,
        writer: Writer | str | os.PathLike[str] | None,
        *,
        every: int = 50,
        start_step: int = 0,
    ) -> None:
        if not isinstance(module, nn.Module):
            raise TypeError(f"Monitor: expected module to be a torch.nn.Module, got {describe(module)}")
        optimizers = [] if optimizer is None else [optimizer] if isinstance(optimizer, Optimizer) else optimizer
        if not isinstance(optimizers, Sequence) or not all(isinstance(o, Optimizer) for o in optimizers):
            raise TypeError(
                f"Monitor: expected optimizer to be a torch.optim.Optimizer or None, got {describe(optimizer)}; "
                "several optimizers go in a list"
            )
        if every < 1:
            raise ValueError(f"Monitor: expected every to be at least 1, got {every}")
        if start_step < 0:
            raise ValueError(f"Monitor: expected start_step to be 0 or more, got {start_step}")
        self.module, self.optimizer, self.every = module, optimizer, every
        self.global_step = start_step
        self._optimizers, self._hooks = optimizers, OptimizerHooks(optimizers)
        self._owned: Any = None
        self.writer: Writer
        if writer is None:
            self.writer = _Nowhere()
        elif isinstance(writer, str | os.PathLike):
            self._owned = self.writer = open_writer(writer, start_step + 1 if start_step else None)
        elif hasattr(writer, "add_scalar"):
            self.writer = writer
        else:
            raise TypeError(
                f"Monitor: expected writer to be a SummaryWriter or the folder to write to, got {describe(writer)}"
            )
        self._whole = all_watch(module, every, start_step)
        self._unseen: Mapping[str, Mapping[str, None]] = {}
        self._pending: list[Record] = []
        self._evaluated: dict[str, int] = {}  # the last step of each figure of an evaluation
        self._watched: WatchedStep | None = None
        self._closed = False
        self._watch_next()

    def step(
        self,
        *,
        loss: float | Tensor | None = None,
        accuracy: float | Tensor | None = None,
        **metrics: float | Tensor,
    ) -> None:
        """Ends a training step: counts it, keeps its scalars, and writes what was watched of it.

        Call it after ``optimizer.step()``. Scalars on a GPU are kept there and read at the next watched step,
        at the latest after a hundred steps.

        Args:
            loss: The loss of the batch, as ``loss/train``.
            accuracy: The share of correct answers, from 0 to 1, as ``accuracy/train``.
            **metrics: Other figures, as ``metrics/NAME/train``.

        Raises:
            RuntimeError: If the monitor is closed.
            TypeError: If a figure is no number.
            ValueError: If a figure is a tensor of more than one element.
        """
        self._check_open("step")
        scalars = _scalars("train", loss, accuracy, metrics, self._whole)
        self.global_step += 1
        if scalars:
            self._pending.append(Record(self.global_step, time.time(), scalars))
        if self._watched is not None:
            self._watched.finish()
            self._write_unseen(self._watched.unseen)
            self._watched = None
            self._write_pending()
        elif len(self._pending) >= MOST_PENDING:
            self._write_pending()
        self._watch_next()

    def evaluate(
        self,
        step: int | None = None,
        *,
        loss: float | Tensor | None = None,
        accuracy: float | Tensor | None = None,
        confusion: Tensor | None = None,
        **metrics: float | Tensor,
    ) -> None:
        """Writes the figures of an evaluation, and puts all records on the disk.

        Args:
            step: Training steps done; the monitor's own count by default.
            loss: The loss of the test set, as ``loss/test``.
            accuracy: The share of correct answers, from 0 to 1, as ``accuracy/test``.
            confusion: Counts of shape `(classes, classes)`, a row for each true class and a column for each
                predicted one, as a picture.
            **metrics: Other figures, as ``metrics/NAME/test``.

        Raises:
            RuntimeError: If the monitor is closed.
            TypeError: If a figure is no number.
            ValueError: If a figure is a tensor of more than one element, or ``confusion`` no square matrix of
                counts.
        """
        self._check_open("evaluate")
        step = self.global_step if step is None else step
        scalars = _scalars("test", loss, accuracy, metrics)
        if confusion is not None:
            picture = confusion_picture(confusion)
            self.writer.add_image("pictures/confusion/row_true_column_predicted", picture, step)
        self._write_pending()
        self._write_scalars(step, scalars)
        self.writer.flush()

    def hparams(self, config: Any, metrics: Mapping[str, float | Tensor]) -> None:
        """Writes one row of TensorBoard's table of hyperparameters, for comparing runs.

        TensorBoard shows the hyperparameters in which the runs differ first, and every curve's last value as a
        result.

        Args:
            config: A dataclass or a mapping; nested ones become ``outer.inner``. Numbers, strings and truth
                values are kept, paths, lists and tuples are written as text, and all else is left out.
            metrics: Results by name, under the names that `evaluate` takes; they join the curves of the test
                set, unless `evaluate` wrote them at this step already.

        Raises:
            RuntimeError: If the monitor is closed.
            TypeError: If ``config`` is neither a dataclass nor a mapping, or a result is no number.
            ValueError: If a result is a tensor of more than one element.
        """
        self._check_open("hparams")
        if is_dataclass(config) and not isinstance(config, type):
            config = asdict(config)
        if not isinstance(config, Mapping):
            raise TypeError(f"hparams: expected config to be a dataclass or a mapping, got {describe(config)}")
        others = dict(metrics)
        scalars = _scalars("test", others.pop("loss", None), others.pop("accuracy", None), others)
        self._write_pending()
        self._write_scalars(self.global_step, scalars)
        if hasattr(type(self.writer), "_get_file_writer"):
            from torch.utils.tensorboard.summary import hparams

            # SummaryWriter.add_hparams opens a second file, and an experiment's summary of one run, without the
            # third part; TensorBoard then shows that run's columns for all runs, in alphabetical order. The method is
            # SummaryWriter's alone, as the line above asks; the type of other writers lacks it.
            file: Any = self.writer._get_file_writer()  # type: ignore[attr-defined]
            for part in hparams(dict(_settings(config)), {})[1:]:
                file.add_summary(part, self.global_step)
        else:
            self.writer.add_hparams(dict(_settings(config)), {}, run_name=".", global_step=self.global_step)
        self.writer.flush()

    def close(self) -> None:
        """Takes all hooks off and puts all records on the disk; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._watched is not None:
            self._watched.cancel()
            self._watched = None
        try:
            self._write_pending()
            self.writer.flush()
        finally:
            if self._owned is not None:
                self._owned.close()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _watch_next(self) -> None:
        if self.global_step % self.every == 0:
            step = self.global_step + 1
            self._watched = WatchedStep(self.module, self._optimizers, self._hooks, self.writer, step, self._whole)

    def _write_unseen(self, unseen: Mapping[str, Mapping[str, None]]) -> None:
        """Writes what cannot be seen, where it is not what was written last."""
        if unseen and unseen != self._unseen:
            self._unseen = unseen
            lines = [f"- {', '.join(names)}: {reason}" for reason, names in unseen.items()]
            self.writer.add_text("not_seen", "\n".join(lines), self.global_step)

    def _write_pending(self) -> None:
        records, self._pending = self._pending, []
        for step, walltime, scalars in records:
            for tag, value in scalars.items():
                self.writer.add_scalar(tag, float(value), step, walltime)

    def _write_scalars(self, step: int, scalars: Mapping[str, float | Tensor]) -> None:
        """Writes the figures of an evaluation, each once for a step."""
        for tag, value in scalars.items():
            if self._evaluated.get(tag) != step:
                self.writer.add_scalar(tag, float(value), step)
                self._evaluated[tag] = step

    def _check_open(self, method: str) -> None:
        if self._closed:
            raise RuntimeError(f"Monitor.{method}: the monitor is closed; call it inside the with block")


def _scalars(
    split: str,
    loss: float | Tensor | None,
    accuracy: float | Tensor | None,
    metrics: Mapping[str, Any],
    whole: bool = False,
) -> dict[str, float | Tensor]:
    """Figures by tag, checked and, for tensors on a GPU, copied as they are now; NaN where one cannot be read."""
    named = {f"accuracy/{split}": accuracy, f"loss/{split}": loss}
    named |= {f"metrics/{name}/{split}": value for name, value in metrics.items()}
    scalars: dict[str, float | Tensor] = {}
    for tag, value in named.items():
        if isinstance(value, Tensor):
            if value.numel() != 1:
                raise ValueError(f"{tag}: expected one number, got {describe(value)}; take its mean() first")
            try:
                value = plain(value, whole)
            except Unreadable:
                value = math.nan
            scalars[tag] = value.clone() if isinstance(value, Tensor) and not value.is_cpu else float(value)
        elif value is not None:
            try:
                scalars[tag] = float(value)
            except (TypeError, ValueError):
                raise TypeError(f"{tag}: expected a number, got {describe(value)}") from None
    return scalars


def _settings(config: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, bool | int | float | str]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{prefix}{key}.")
        elif isinstance(value, bool | int | float | str):
            yield f"{prefix}{key}", value
        elif isinstance(value, os.PathLike | list | tuple):
            yield f"{prefix}{key}", str(value)


class _Nowhere:
    """A writer that writes nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None
