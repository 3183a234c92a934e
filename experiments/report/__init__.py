"""``python -m experiments report RUN …``: several runs beside each other as Markdown and PNG, without TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments.commandline import read_flags
from experiments.errors import UsageError
from experiments.formatting import shown
from experiments.report.networks import Trained, read_runs
from experiments.report.plot import plot
from experiments.run import replace_file, writing

__all__ = ["main", "markdown"]

FIRST = ("loss", "accuracy")
PROG = "python -m experiments report"


@dataclass(frozen=True)
class Config:
    """Writes a report on runs: a table of their results and settings, and their curves as pictures.

    Args:
        runs: Folders of runs, ended or not; the parts of each are laid beside each other too.
        out: Folder to write report.md and the pictures to.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    out: Path = Path("report")


def main(words: Sequence[str]) -> None:
    """Writes the report that the command line asks for."""
    config = read_flags(Config, words, PROG)
    if not config.runs:
        raise UsageError(f"expected folders of runs, such as runs/mnist-cnn-scratch-001, got none; {PROG} RUN …")
    trained = read_runs(list(config.runs))
    figures = _figures(trained)
    with writing(config.out, "--out DIR names another place"):
        config.out.mkdir(parents=True, exist_ok=True)
        for figure in figures:
            replace_file(config.out / f"{figure}.png", plot(trained, figure))
        replace_file(config.out / "report.md", markdown(trained, figures).encode())
    print(markdown(trained, []).strip())
    print(f"\nreport: {config.out / 'report.md'}")


def markdown(trained: Sequence[Trained], pictures: Sequence[str]) -> str:
    """The table of results, what the settings have in common, and the pictures."""
    shared, different = _settings(trained)
    figures = [figure for figure in _figures(trained) if any(each.last(figure) is not None for each in trained)]
    head = ["network", *different, *(f"test {figure}" for figure in figures), "best", "steps", "ms a step"]
    rows = [
        [
            each.name,
            *(_text(each.config.get(name)) for name in different),
            *(_figure(figure, each.last(figure)) for figure in figures),
            _best(each),
            f"{each.steps}" if each.summary else f"{each.steps}, not ended",
            _figure("", each.milliseconds, digits=1),
        ]
        for each in trained
    ]
    lines = ["# Runs beside each other", "", _row(head), _row(["---"] * len(head)), *map(_row, rows), ""]
    for figure in pictures:
        lines += [f"![{figure.replace('_', ' ')} over training steps]({figure}.png)", ""]
    if shared:
        lines += ["All have: " + ", ".join(f"{name} {_text(value)}" for name, value in shared.items()) + ".", ""]
    return "\n".join(lines)


def _figures(trained: Sequence[Trained]) -> list[str]:
    """All figures, loss and accuracy first."""
    names = dict.fromkeys(figure for each in trained for _, figure in each.curves)
    return [name for name in FIRST if name in names] + [name for name in names if name not in FIRST]


def _settings(trained: Sequence[Trained]) -> tuple[dict[str, Any], list[str]]:
    """The settings that all have alike, and the names of those in which some differ."""
    names = dict.fromkeys(name for each in trained for name in each.config)
    shared, different = {}, []
    for name in names:
        values = [each.config.get(name) for each in trained]
        if all(value == values[0] for value in values):
            if values[0] is not None:
                shared[name] = values[0]
        elif name != "part":
            different.append(name)
    return shared, different


def _best(each: Trained) -> str:
    """The best evaluation: its highest accuracy, or lowest loss, and the step."""
    accuracy, loss = each.curves.get(("test", "accuracy")), each.curves.get(("test", "loss"))
    figure, curve, choose = ("accuracy", accuracy, max) if accuracy else ("loss", loss, min)
    if curve is None:
        return "–"
    value = choose(curve.values)
    return f"{_figure(figure, value)} at step {curve.steps[curve.values.index(value)]}"


def _figure(name: str, value: float | None, digits: int = 4) -> str:
    return "–" if value is None else shown(name, value, digits)


def _text(value: object) -> str:
    return "–" if value is None else str(value).replace("|", "\\|")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
