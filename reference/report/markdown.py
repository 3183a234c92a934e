"""Writes a comparison as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from reference.check import OpCheck
from reference.report.summary import (
    ACCURACY,
    COLUMNS,
    VALUES,
    accuracy,
    accuracy_of_all,
    cells,
    dtype_name,
    in_words,
)
from reference.report.terminal import failures

__all__ = ["markdown", "write_markdown"]


def markdown(results: Sequence[OpCheck], complaints: Sequence[str]) -> str:
    """Returns the table, one row for each op and dtype, followed by the disagreements."""
    heads = ["op", "dtype", "samples", *COLUMNS, ACCURACY, "verdict"]
    lines = [
        f"# custom against built-in, torch {torch.__version__}",
        "",
        f"{sum(r.ok for r in results)} of {len(results)} comparisons agree.",
        *(["", f"{summary}."] if (summary := accuracy_of_all(results)) else []),
        "",
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(heads),
    ]
    for result in results:
        found = [in_words(cell) for cell in cells(result)]
        verdict = "agrees" if result.ok else "**DIFFERS**"
        errors = accuracy(result, *VALUES) or "-"
        row = [
            f"`{result.name}`",
            dtype_name(result.dtype),
            str(len(result.comparisons)),
            *found,
            str(errors),
            verdict,
        ]
        lines.append("| " + " | ".join(row) + " |")
    for text in [*failures(results), *complaints]:
        lines += ["", "```", text, "```"]
    return "\n".join(lines) + "\n"


def write_markdown(path: Path, results: Sequence[OpCheck], complaints: Sequence[str]) -> None:
    path.write_text(markdown(results, complaints))
