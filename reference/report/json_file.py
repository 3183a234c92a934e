"""Writes a comparison as JSON, every row of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from reference.check import OpCheck

__all__ = ["write_json"]


def write_json(path: Path, results: Sequence[OpCheck], complaints: Sequence[str]) -> None:
    """Writes the version of torch, the verdict, every row, and complaints about errors on bad input."""
    content = {
        "torch": torch.__version__,
        "ok": all(r.ok for r in results) and not complaints,
        "results": [r.to_dict() for r in results],
        "errors": list(complaints),
    }
    path.write_text(json.dumps(content, indent=1))
