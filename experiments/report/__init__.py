"""``python -m experiments report RUN …``: compares runs in Markdown and PNG plots, without TensorBoard."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import matplotlib
import tyro
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.commandline import read_flags
from experiments.errors import UsageError
from experiments.formatting import format_metric, markdown_table
from experiments.metrics.curves import MetricCurve
from experiments.report.networks import TrainedNetwork, read_runs
from experiments.run import replace_file, writing

__all__ = ["main", "markdown", "plot"]

FIRST = ("loss", "accuracy")
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
        raise UsageError(f"expected folders of runs, such as runs/mnist-cnn-scratch-001, got none; {PROG} RUN …")
    networks = read_runs(list(config.runs))
    metrics = _metrics(networks)
    with writing(config.out, "choose another folder with --out DIR"):
        config.out.mkdir(parents=True, exist_ok=True)
        for metric in metrics:
            replace_file(config.out / f"{metric}.png", plot(networks, metric))
        replace_file(config.out / "report.md", markdown(networks, metrics).encode())
    print(markdown(networks, []).strip())
    print(f"\nreport: {config.out / 'report.md'}")


def markdown(networks: Sequence[TrainedNetwork], plots: Sequence[str]) -> str:
    """Formats the table of results, the plots of the named metrics, and the settings that all networks share."""
    shared, different = _settings(networks)
    metrics = [metric for metric in _metrics(networks) if any(each.last(metric) is not None for each in networks)]
    head = ["network", *different, *(f"test {metric}" for metric in metrics), "best", "steps", "ms a step"]
    rows = [
        [
            each.name,
            *(_text(each.config.get(name)) for name in different),
            *(_value(metric, each.last(metric)) for metric in metrics),
            _best(each),
            f"{each.steps}" if each.summary else f"{each.steps}, not ended",
            _value("", each.milliseconds, digits=1),
        ]
        for each in networks
    ]
    lines = ["# Comparison of runs", "", markdown_table(head, rows), ""]
    for metric in plots:
        lines += [f"![{metric.replace('_', ' ')} over training steps]({metric}.png)", ""]
    if shared:
        lines += ["Shared: " + ", ".join(f"{name} {_text(value)}" for name, value in shared.items()) + ".", ""]
    return "\n".join(lines)


def _metrics(networks: Sequence[TrainedNetwork]) -> list[str]:
    """Returns the names of all metrics, loss and accuracy first."""
    names = dict.fromkeys(metric for each in networks for _, metric in each.curves)
    return [name for name in FIRST if name in names] + [name for name in names if name not in FIRST]


def _settings(networks: Sequence[TrainedNetwork]) -> tuple[dict[str, Any], list[str]]:
    """Returns the settings that all networks share, and the names of the settings that differ."""
    names = dict.fromkeys(name for each in networks for name in each.config)
    shared, different = {}, []
    for name in names:
        values = [each.config.get(name) for each in networks]
        if all(value == values[0] for value in values):
            if values[0] is not None:
                shared[name] = values[0]
        elif name != "part":
            different.append(name)
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


def _text(value: object) -> str:
    return "–" if value is None else str(value).replace("|", "\\|")


def plot(networks: Sequence[TrainedNetwork], metric: str) -> bytes:
    """Plots a metric of all networks over the steps, as PNG; test curves have dots, training curves are faint."""
    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    colors = matplotlib.color_sequences["tab10" if len(networks) <= 10 else "tab20"]
    for i, each in enumerate(networks):
        color = colors[i % len(colors)]
        if (curve := each.curves.get(("train", metric))) is not None:
            axes.plot(curve.steps, smoothed(curve), color=color, alpha=0.4, linewidth=1, label="_")
        if (curve := each.curves.get(("test", metric))) is not None:
            axes.plot(curve.steps, curve.values, "o-", color=color, markersize=4, label=each.name)
        elif ("train", metric) in each.curves:
            axes.plot([], [], color=color, alpha=0.4, label=f"{each.name} (training)")
    axes.set_title(f"{metric.replace('_', ' ')}: test set dotted, training batches faint (moving mean)")
    axes.set_xlabel("training step")
    axes.set_ylabel(metric.replace("_", " "))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
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
