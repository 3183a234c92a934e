"""Reads the metrics of a run over its training steps from ``metrics.jsonl``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.errors import ExperimentError
from experiments.run import Run

__all__ = ["MetricCurve", "parse_json", "read_curve", "read_curves"]

NOT_METRICS = ("step", "epoch", "split", "backend")


@dataclass
class MetricCurve:
    """The values of a metric and the steps at which it was recorded."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


def read_curve(run: Run, metric: str, split: str = "test") -> tuple[list[int], list[float]]:
    """Returns the steps and values of a metric for the first network of a run or part."""
    by_backend = read_curves(run.folder / "metrics.jsonl")
    found = next(iter(by_backend.values()))[split, metric]
    return found.steps, found.values


def read_curves(path: Path) -> dict[str, dict[tuple[str, str], MetricCurve]]:
    """Returns all curves of a ``metrics.jsonl``, keyed by backend and then by (split, metric)."""
    found: dict[str, dict[tuple[str, str], MetricCurve]] = {}
    for line in path.read_text().splitlines(keepends=True):
        if not line.endswith("\n"):
            break  # a running training is still writing this line
        row = parse_json(line, path)
        for metric, value in row.items():
            if metric not in NOT_METRICS and isinstance(value, int | float) and "backend" in row:
                curve = found.setdefault(row["backend"], {}).setdefault((row["split"], metric), MetricCurve())
                curve.steps.append(row["step"])
                curve.values.append(value)
    return found


def parse_json(text: str, path: Path) -> dict[str, Any]:
    """Parses a JSON object.

    Raises:
        ExperimentError: ``path``, from which the text was read, is damaged.
    """
    try:
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError(f"expected an object, got {text.strip()[:40]}")
    except ValueError as error:
        raise ExperimentError(f"'{path}' is damaged ({type(error).__name__}: {error})") from error
    return content
