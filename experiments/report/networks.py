"""The curves of runs, read back from their ``metrics.jsonl``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.errors import ExperimentError, UsageError
from experiments.run import Run

__all__ = ["Curve", "Trained", "read_curves", "read_runs"]

NOT_FIGURES = ("step", "epoch", "split", "backend")


@dataclass
class Curve:
    """A figure over the steps at which it was taken."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


@dataclass
class Trained:
    """One network's training.

    Attributes:
        name: What sets it apart from the others that were read.
        config: What it was asked for.
        curves: By split, ``train`` or ``test``, and figure.
        summary: Its ``summary.json``, empty where it has not ended.
        backend: Whose layers it is made of.
    """

    name: str
    config: dict[str, Any]
    curves: dict[tuple[str, str], Curve]
    summary: dict[str, Any]
    backend: str

    def last(self, figure: str) -> float | None:
        """The figure of the last evaluation."""
        curve = self.curves.get(("test", figure))
        return curve.values[-1] if curve else None

    @property
    def steps(self) -> int:
        """Training steps done."""
        return max((curve.steps[-1] for curve in self.curves.values()), default=0)

    @property
    def milliseconds(self) -> float | None:
        """What a training step took, where the training has ended."""
        network = self.summary.get("networks", {}).get(self.backend)
        return None if network is None else 1000 * network["seconds_in_steps"] / self.summary["steps"]


def read_runs(folders: list[Path]) -> list[Trained]:
    """All networks of the runs in these folders.

    Raises:
        UsageError: a folder is none of a run, or nothing was trained in it.
        ExperimentError: a file in it is damaged.
    """
    found: list[Trained] = []
    for folder in folders:
        try:
            run = Run.reopen(folder)
        except UsageError as error:
            raise UsageError(str(error).removeprefix("--resume: ").partition(";")[0]) from None
        alone = [other.name for other in folders].count(folder.name) == 1
        networks = list(_networks(run, folder.name if alone else str(folder)))
        if not networks:
            raise UsageError(f"expected a run that trains networks, got '{folder}', which has no metrics.jsonl")
        found += networks
    # A name says no more than is needed: of one run's parts, the part; of networks of one backend, no backend.
    several, mixed = len(folders) > 1, len({each.backend for each in found}) > 1
    for each in found:
        run_name, part, backend = each.name.split("\0")
        words = [run_name if several or not part else "", part, backend if mixed else ""]
        each.name = " ".join(word for word in words if word)
    return found


def _networks(run: Run, name: str) -> Iterator[Trained]:
    paths = sorted(run.folder.glob("metrics.jsonl")) + sorted(run.folder.glob("*/metrics.jsonl"), key=_begun)
    for path in paths:
        part = "" if path.parent == run.folder else path.parent.name
        config, summary = path.with_name("part.json"), path.with_name("summary.json")
        settings = _json(config.read_text(), config) if part and config.is_file() else dict(run.config)
        content = _json(summary.read_text(), summary) if summary.is_file() else {}
        for backend, curves in read_curves(path).items():
            yield Trained(f"{name}\0{part}\0{backend}", settings, curves, content, backend)


def _begun(path: Path) -> float:
    """Parts come in the order in which they were trained, which their last changes tell."""
    return path.stat().st_mtime


def read_curves(path: Path) -> dict[str, dict[tuple[str, str], Curve]]:
    """What a ``metrics.jsonl`` holds, by backend, and by split and figure."""
    found: dict[str, dict[tuple[str, str], Curve]] = {}
    lines = path.read_text().splitlines(keepends=True)
    for line in lines:
        if not line.endswith("\n"):
            break  # a run that is going on is writing it
        row = _json(line, path)
        for figure, value in row.items():
            if figure not in NOT_FIGURES and isinstance(value, int | float) and "backend" in row:
                curve = found.setdefault(row["backend"], {}).setdefault((row["split"], figure), Curve())
                curve.steps.append(row["step"])
                curve.values.append(value)
    return found


def _json(text: str, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError(f"expected an object, got {text.strip()[:40]}")
    except ValueError as error:
        raise ExperimentError(f"'{path}' is damaged ({type(error).__name__}: {error})") from error
    return content
