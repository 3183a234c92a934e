"""Reads the trained networks of several runs: their settings, curves and results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.errors import UsageError
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
        network = self.summary.get("networks", {}).get(self.backend)
        return None if network is None else 1000 * network["seconds_in_steps"] / self.summary["steps"]


def read_runs(folders: list[Path]) -> list[TrainedNetwork]:
    """Reads all networks of the runs in these folders.

    Raises:
        UsageError: A folder does not hold a run, or no network was trained in it.
        ExperimentError: A file is damaged.
    """
    found: list[TrainedNetwork] = []
    for folder in folders:
        try:
            run = Run.reopen(folder)
        except UsageError as error:
            raise UsageError(str(error).removeprefix("--resume: ").partition(";")[0]) from None
        unique = [other.name for other in folders].count(folder.name) == 1
        networks = list(_networks(run, folder.name if unique else str(folder)))
        if not networks:
            raise UsageError(f"expected a run that trains networks, got '{folder}', which has no metrics.jsonl")
        found += networks
    # Drop what is the same in all names: the run if there is only one, the backend if all networks share it.
    several, mixed = len(folders) > 1, len({each.backend for each in found}) > 1
    for each in found:
        run_name, part, backend = each.name.split("\0")
        words = [run_name if several or not part else "", part, backend if mixed else ""]
        each.name = " ".join(word for word in words if word)
    return found


def _networks(run: Run, name: str) -> Iterator[TrainedNetwork]:
    # Parts come in the order in which they were trained, by the time of their last change.
    parts = sorted(run.folder.glob("*/metrics.jsonl"), key=lambda path: path.stat().st_mtime)
    for path in [*run.folder.glob("metrics.jsonl"), *parts]:
        part = "" if path.parent == run.folder else path.parent.name
        config, summary = path.with_name("part.json"), path.with_name("summary.json")
        settings = parse_json(config.read_bytes(), config) if part and config.is_file() else dict(run.config)
        content = parse_json(summary.read_bytes(), summary) if summary.is_file() else {}
        for backend, curves in read_curves(path).items():
            yield TrainedNetwork(f"{name}\0{part}\0{backend}", settings, curves, content, backend)
