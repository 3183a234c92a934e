"""The trials as a table, as JSON and as a page."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path

import torch
from rich.table import Table
from rich.text import Text

from reference.report.page import Cell, table_row, write_page
from reference.zoo.trial import GROUPS, Trial

__all__ = ["summary", "table", "write_html", "write_json"]

HEADINGS = ("model", "parameters", *GROUPS, "one ulp", "kernels", "time", "verdict")
HOW_TO_READ = (
    "Differences are relative to a tensor's largest element. Equal: at most 1e-9. Ill-conditioned: more, but at most "
    "ten times what one unit in the last place of the parameters changes in the built-in; the column one ulp has the "
    "largest such change. Kernels: PyTorch's neural-network kernels that still ran. Time: ours over the built-in's."
)


def summary(trials: Sequence[Trial]) -> str:
    """Returns one sentence of counts."""
    counts = Counter(trial.verdict for trial in trials)
    words = ", ".join(f"{counts[verdict]} {verdict}" for verdict in dict.fromkeys(t.verdict for t in trials))
    impure = sum(bool(trial.kernels) for trial in trials)
    return f"{len(trials)} models: {words}; {impure} impure, with torch {torch.__version__}"


def table(trials: Sequence[Trial]) -> Table:
    shown = Table(title="converted models against the originals: largest differences", title_justify="left")
    for heading in HEADINGS:
        shown.add_column(heading, no_wrap=heading != "verdict")
    for trial in trials:
        *cells, verdict = _cells(trial)
        shown.add_row(*map(Text, cells), Text(verdict, style="green" if trial.ok else "bold red"))
    return shown


def write_json(path: Path, trials: Sequence[Trial]) -> None:
    """Writes the version of torch and every trial with its kernels and the modules that were left."""
    content = {
        "torch": torch.__version__,
        "ok": all(trial.ok for trial in trials),
        "trials": [dataclasses.asdict(trial) for trial in trials],
    }
    path.write_text(json.dumps(content, indent=1))


def write_html(path: Path, trials: Sequence[Trial]) -> None:
    details = "".join(
        f"<pre>{escape(trial.name)}\n{escape(chr(10).join(trial.kernels))}</pre>"
        for trial in trials
        if trial.kernels
    )
    write_page(
        path,
        title="converted models against the originals",
        introduction=f"<p>{escape(summary(trials))}. {HOW_TO_READ}</p>",
        headings=HEADINGS,
        rows=map(_row, trials),
        below=f"<h2>Kernels</h2>{details}" if details else "",
        plots=(),
    )


def _row(trial: Trial) -> str:
    words = _cells(trial)
    numbers = [trial.parameters, *(trial.differences.get(group, -1.0) for group in GROUPS), _reach(trial)]
    numbers += [len(trial.kernels), trial.ratio or -1.0]
    keys = [trial.name, *(f"{number:.6e}" for number in numbers), trial.verdict]
    styles = [""] * (len(words) - 1) + ["close" if trial.ok else "bad"]
    return table_row(map(Cell, words, keys, styles))


def _cells(trial: Trial) -> list[str]:
    reach = _reach(trial)
    return [
        trial.name,
        f"{trial.parameters / 1e6:.1f} M" if trial.parameters else "-",
        *(f"{trial.differences[group]:.0e}" if group in trial.differences else "-" for group in GROUPS),
        f"{reach:.0e}" if reach >= 0 else "-",
        str(len(trial.kernels)) if trial.differences else "-",
        f"{trial.ratio:.2f}" if trial.ratio else "-",
        trial.verdict + (f": {trial.reason}" if trial.reason else ""),
    ]


def _reach(trial: Trial) -> float:
    return max(trial.reach.values(), default=-1.0)
