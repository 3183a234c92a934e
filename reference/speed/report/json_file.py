"""Writes a run as JSON: the machine, every percentile and every ratio."""

from __future__ import annotations

import json
from pathlib import Path

from reference.speed.report.results import Results

__all__ = ["write_json"]


def write_json(path: Path, results: Results) -> None:
    content = {
        "machine": results.machine.to_dict(),
        "measurements": [m.to_dict() for m in results.measurements],
        "refused": list(results.refusals),
        "targets": [
            {"what": v.target.what, "limit": v.target.limit, "figure": v.figure, "verdict": v.word, "note": v.note}
            for v in results.verdicts
        ],
        "growth": [g.to_dict() for g in results.growth],
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False))
