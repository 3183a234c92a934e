"""``python -m experiments report RUN …``: compares runs in Markdown and PNG plots, without TensorBoard."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import matplotlib
import tyro
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.commandline import read_flags
from experiments.errors import UsageError
from experiments.formatting import format_metric, markdown_table, printable
from experiments.metrics.curves import MetricCurve
from experiments.report.networks import TrainedNetwork, read_runs
from experiments.run import replace_file, writing

__all__ = ["main", "markdown", "plot"]

FIRST = ("loss", "accuracy")
MOST_COLUMNS = 12
MOST_METRICS = 12  # with plots
MOST_CURVES = 10  # in a plot
LONGEST = 50  # characters of a name in a legend
WIDE = 100.0  # ratio of the largest to the smallest value from which an axis is logarithmic
PROG = "python -m experiments report"
SMOOTHING = 0.05  # weight of a new point in the moving mean of the training curve


@dataclass(frozen=True)
class Config:
    """Compares runs: writes a table of their results and settings, and plots of their curves.

    Args:
        runs: Folders of runs, finished or not; the parts of each are compared too.
        out: Folder to write report.md and the plots to.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    out: Path = Path("report")


def main(words: Sequence[str]) -> None:
    config = read_flags(Config, words, PROG)
    if not config.runs:
        raise UsageError(f"expected folders of runs, such as runs/mnist, got none; {PROG} RUN …")
    networks, skipped = read_runs(list(config.runs))
    plots = _plots(networks)
    with writing(config.out, "choose another folder with --out DIR"):
        config.out.mkdir(parents=True, exist_ok=True)
        for file, (metric, drawn) in plots.items():
            replace_file(config.out / file, plot(drawn, metric))
        replace_file(config.out / "report.md", markdown(networks, plots).encode())
    print(markdown(networks, {}).strip())
    print("".join(f"\nleft out: {printable(reason)}" for reason in skipped))
    print(f"report: {config.out / 'report.md'}")


def _plots(networks: Sequence[TrainedNetwork]) -> dict[str, tuple[str, Sequence[TrainedNetwork]]]:
    """Returns what to plot by file name: a metric, and the networks that have it, a few at a time."""
    found: dict[str, tuple[str, Sequence[TrainedNetwork]]] = {}
    for metric in _metrics(networks)[:MOST_METRICS]:
        drawn = [each for each in networks if any(name == metric for _, name in each.curves)]
        # A metric's name comes from a file, and may be anything.
        stem = re.sub(r"\W+", "_", metric, flags=re.ASCII)[:50] or "metric"
        while any(name.startswith(f"{stem}.") or name.startswith(f"{stem}_1.") for name in found):
            stem += "_"
        groups = [drawn[first : first + MOST_CURVES] for first in range(0, len(drawn), MOST_CURVES)]
        for number, group in enumerate(groups, 1):
            found[f"{stem}_{number}.png" if len(groups) > 1 else f"{stem}.png"] = metric, group
    return found


def markdown(networks: Sequence[TrainedNetwork], plots: Mapping[str, tuple[str, Sequence[TrainedNetwork]]]) -> str:
    """Formats the table of results, the plots by file name, and the settings that all networks share.

    The table has the settings that differ and the metrics that most networks have, up to `MOST_COLUMNS`.
    """
    shared, different = _settings(networks)
    metrics = [metric for metric in _metrics(networks) if any(each.last(metric) is not None for each in networks)]
    last = {
        "best": [_best(each) for each in networks],
        "steps": [f"{each.steps}" if each.summary else f"{each.steps}, not ended" for each in networks],
        "ms a step": [_value("", each.milliseconds, digits=1) for each in networks],
    }
    columns = {name: [_text(each.config.get(name)) for each in networks] for name in different}
    measured = {f"test {metric}": [_value(metric, each.last(metric)) for each in networks] for metric in metrics}
    free = MOST_COLUMNS - 1 - len(last)
    few = max(free - len(measured), free // 2)
    table = {
        "network": [_text(each.name) for each in networks],
        **dict(list(columns.items())[:few]),
        **dict(list(measured.items())[: free - min(len(columns), few)]),
        **last,
    }
    left_out = [name for name in (*columns, *measured) if name not in table]
    lines = [
        "# Comparison of runs",
        "",
        markdown_table([*map(_text, table)], list(zip(*table.values(), strict=True))),
    ]
    lines += [""]
    for file, (metric, _) in plots.items():
        lines += [f"![{_text(metric.replace('_', ' '))} over training steps]({file})", ""]
    if left_out:
        lines += ["Different too: " + ", ".join(map(_text, left_out)) + ".", ""]
    if shared:
        listed = (f"{_text(name)} {_text(value)}" for name, value in shared.items())
        lines += ["Shared: " + ", ".join(listed) + ".", ""]
    return "\n".join(lines)


def _metrics(networks: Sequence[TrainedNetwork]) -> list[str]:
    """Returns the names of all metrics: loss, accuracy, then those of most networks' evaluations."""
    counts: dict[str, list[int]] = {}
    for each in networks:
        for split, metric in each.curves:
            counts.setdefault(metric, [0, 0])[split == "train"] += 1
    return sorted(counts, key=lambda name: (name != "loss", name != "accuracy", *(-n for n in counts[name])))


def _settings(networks: Sequence[TrainedNetwork]) -> tuple[dict[str, Any], list[str]]:
    """Returns the settings that all networks share, and the names of those that differ, for most networks first."""
    names = dict.fromkeys(name for each in networks for name in each.config)
    shared, different = {}, []
    for name in names:
        values = [each.config.get(name) for each in networks]
        if all(value == values[0] for value in values):
            if values[0] is not None:
                shared[name] = values[0]
        elif name != "part":
            different.append(name)
    different.sort(key=lambda name: -sum(each.config.get(name) is not None for each in networks))
    return shared, different


def _best(each: TrainedNetwork) -> str:
    """Formats the highest test accuracy, or else the lowest loss, and its step."""
    accuracy, loss = each.curves.get(("test", "accuracy")), each.curves.get(("test", "loss"))
    metric, curve, choose = ("accuracy", accuracy, max) if accuracy else ("loss", loss, min)
    if curve is None:
        return "–"
    value = choose(curve.values)
    return f"{_value(metric, value)} at step {curve.steps[curve.values.index(value)]}"


def _value(metric: str, value: float | None, digits: int = 4) -> str:
    return "–" if value is None else format_metric(metric, value, digits)


def _label(name: str) -> str:
    """Formats a name from a file without control characters, and without matplotlib's mathematics."""
    return printable(name).replace("_", " ")[:LONGEST].replace("$", "\\$")


def _text(value: object) -> str:
    """Formats a name or value from a file, without the characters that Markdown and HTML give a meaning."""
    return "–" if value is None else re.sub(r"([|\\<>\[\]`!])", r"\\\1", printable(value)[:80])


def plot(networks: Sequence[TrainedNetwork], metric: str) -> bytes:
    """Plots a metric of all networks over the steps, as PNG; test curves have dots, training curves are faint."""
    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for color, each in zip(matplotlib.color_sequences["tab10"], networks, strict=False):
        if (curve := each.curves.get(("train", metric))) is not None:
            axes.plot(curve.steps, smoothed(curve), color=color, alpha=0.4, linewidth=1, label="_")
        if (curve := each.curves.get(("test", metric))) is not None:
            axes.plot(curve.steps, curve.values, "o-", color=color, markersize=4, label=_label(each.name))
        elif ("train", metric) in each.curves:
            axes.plot([], [], color=color, alpha=0.4, label=f"{_label(each.name)} (training)")
    axes.set_title(f"{_label(metric)}: test set dotted, training batches faint (moving mean)")
    axes.set_xlabel("training step")
    axes.set_ylabel(_label(metric))
    values = [
        value for each in networks for (_, name), c in each.curves.items() if name == metric for value in c.values
    ]
    if values and 0 < WIDE * min(values) < max(values):
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    figure.legend(fontsize="small", loc="outside lower center", ncols=2)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def smoothed(curve: MetricCurve) -> list[float]:
    """Returns the exponential moving mean, corrected for its bias toward 0 at the start.

    >>> smoothed(MetricCurve([1, 2, 3], [4.0, 4.0, 4.0]))
    [4.0, 4.0, 4.0]
    """
    mean = weight = 0.0
    found = []
    for value in curve.values:
        mean += SMOOTHING * (value - mean)
        weight += SMOOTHING * (1 - weight)
        found.append(mean / weight)
    return found
