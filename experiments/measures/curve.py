"""Reading back what a training wrote: the curves in ``metrics.jsonl``."""

from __future__ import annotations

import json

from experiments.run import Run

__all__ = ["curve"]


def curve(run: Run, figure: str, split: str = "test") -> tuple[list[int], list[float]]:
    """The steps at which a figure was taken down, and the figure, of the first network of a run or a part."""
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["split"] == split and figure in row]
    rows = [row for row in rows if row["backend"] == rows[0]["backend"]]
    return [row["step"] for row in rows], [row[figure] for row in rows]
