"""Reads the trained networks of several runs: their settings, curves and results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.errors import ExperimentError, UsageError
from experiments.metrics.curves import MetricCurve, read_curves
from experiments.run import Run, parse_json

__all__ = ["TrainedNetwork", "read_runs"]


@dataclass
class TrainedNetwork:
    """One network of a run.

    Attributes:
        name: The parts of its run's, part's and backend's names that distinguish it from the others.
        config: The settings of its run or part.
        curves: Its curves by (split, metric), where the split is ``train`` or ``test``.
        summary: Its ``summary.json``; empty if the training has not ended.
        backend: ``custom`` or ``builtin``.
    """

    name: str
    config: dict[str, Any]
    curves: dict[tuple[str, str], MetricCurve]
    summary: dict[str, Any]
    backend: str

    def last(self, metric: str) -> float | None:
        """Returns the metric at the last evaluation."""
        curve = self.curves.get(("test", metric))
        return curve.values[-1] if curve else None

    @property
    def steps(self) -> int:
        return max((curve.steps[-1] for curve in self.curves.values()), default=0)

    @property
    def milliseconds(self) -> float | None:
        """The mean time of a training step; ``None`` if the training has not ended."""
        try:
            return 1000 * self.summary["networks"][self.backend]["seconds_in_steps"] / self.summary["steps"]
        except (KeyError, TypeError, ZeroDivisionError):
            return None


def read_runs(folders: list[Path]) -> tuple[list[TrainedNetwork], list[ExperimentError]]:
    """Reads all networks of the runs in these folders; also returns why folders were left out.

    A folder that is no run itself stands for the runs in it.

    Raises:
        UsageError: No folder holds a run that trained networks.
        ExperimentError: The files of all these runs are damaged.
    """
    found: list[TrainedNetwork] = []
    skipped: list[ExperimentError] = []
    inside = [
        sorted(each.parent for each in folder.glob("*/config.json")) or [folder]
        if not (folder / "config.json").exists()
        else [folder]
        for folder in folders
    ]
    folders = [folder for each in inside for folder in each]
    for folder in folders:
        unique = [other.name for other in folders].count(folder.name) == 1
        try:
            networks = list(_networks(Run.reopen(folder), folder.name if unique else str(folder)))
            if not networks:
                raise UsageError(f"expected a run that trains networks, got '{folder}', which has no curves")
            found += networks
        except UsageError as error:
            skipped.append(UsageError(str(error).removeprefix("--resume: ").partition(";")[0]))
        except ExperimentError as error:
            skipped.append(error)
    if not found:
        raise skipped[0]
    # Drop what is the same in all names: the run if there is only one, the backend if all networks share it.
    several, mixed = len(folders) > 1, len({each.backend for each in found}) > 1
    for each in found:
        run_name, part, backend = each.name.split("\0")
        words = [run_name if several or not part else "", part, backend if mixed else ""]
        each.name = " ".join(word for word in words if word)
    return found, skipped


def _networks(run: Run, name: str) -> Iterator[TrainedNetwork]:
    # Parts come in the order in which they were trained, by the time of their last change.
    parts = sorted(run.folder.glob("*/metrics.jsonl"), key=lambda path: path.stat().st_mtime)
    for path in [*run.folder.glob("metrics.jsonl"), *parts]:
        part = "" if path.parent == run.folder else path.parent.name
        config, summary = path.with_name("part.json"), path.with_name("summary.json")
        settings = parse_json(config.read_bytes(), config) if part and config.is_file() else dict(run.config)
        content = parse_json(summary.read_bytes(), summary) if summary.is_file() else {}
        for backend, curves in read_curves(path).items():
            label = "\0".join(each.replace("\0", " ") for each in (name, part, backend))
            yield TrainedNetwork(label, settings, curves, content, backend)
