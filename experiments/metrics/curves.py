"""Reads the metrics of a run over its training steps from ``metrics.jsonl``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from experiments.run import Run, parse_json

__all__ = ["MetricCurve", "read_curve", "read_curves"]

LARGEST = 1e300  # beyond it, and so far beyond any loss, plots overflow
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
    """Returns all curves of a ``metrics.jsonl``, keyed by backend and then by (split, metric).

    Rows and values of other kinds are left out.
    """
    found: dict[str, dict[tuple[str, str], MetricCurve]] = {}
    for line in path.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break  # a running training is still writing this line
        row = parse_json(line, path)
        step, split, backend = row.get("step"), row.get("split"), row.get("backend")
        if not isinstance(step, int) or split not in ("train", "test") or not isinstance(backend, str):
            continue
        for metric, value in row.items():
            if metric not in NOT_METRICS and isinstance(value, int | float) and not abs(value) > LARGEST:
                curve = found.setdefault(backend, {}).setdefault((split, metric), MetricCurve())
                curve.steps.append(step)
                curve.values.append(float(value))
    return found
