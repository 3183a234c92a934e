"""Measures the tutorial's claims and determines which are true.

Each claim has a function that measures and returns a `Finding`. Verdicts follow from the measurements, except for
claims about who proposed what and when, which have sources instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from matplotlib.image import imread

from experiments import processes
from experiments.backend import BACKENDS
from experiments.chapters.claims.depth import gradients_in_depth
from experiments.chapters.claims.finding import Bench, Finding, Measurement
from experiments.chapters.claims.numerics import cost_of_activations, logistic_against_tanh
from experiments.chapters.claims.record import (
    SOURCES,
    back_propagation,
    maxout_is_no_default,
    support_vector_machine,
)
from experiments.chapters.claims.shapes import (
    formula_of_tanh,
    relu_is_no_parabola,
    slope_of_sigmoid,
    tails_of_tanh,
)
from experiments.chapters.claims.training import dead_units, elu_against_relu, elus_alpha
from experiments.digit_task import find_digits
from experiments.errors import Interrupted
from experiments.formatting import markdown_table
from experiments.report_page import PREFIX, ReportPage
from experiments.run import Run, writing
from experiments.settings import CommonSettings
from experiments.training import checkpoint

__all__ = ["MEASUREMENTS", "Config", "main"]

MEASUREMENTS: tuple[Measurement, ...] = (
    back_propagation,
    support_vector_machine,
    formula_of_tanh,
    slope_of_sigmoid,
    tails_of_tanh,
    logistic_against_tanh,
    relu_is_no_parabola,
    dead_units,
    cost_of_activations,
    elus_alpha,
    elu_against_relu,
    maxout_is_no_default,
    gradients_in_depth,
)


@dataclass(frozen=True)
class Config(CommonSettings):
    """Measures the tutorial's claims, and writes each with its verdict and measurement.

    Networks train on the sample of 5000 digits that is part of the repository, unless --data is given.

    Args:
        preset: quick takes few steps and seeds; full takes more of both, more learning rates and deeper
            networks.
        backend: Activations, layers and gradients to measure: scratch, this repository's; builtin, PyTorch's.
        data: Folder with MNIST in torchvision's layout, or "sample" for the bundled digits.
    """

    backend: Literal["scratch", "builtin"] = "scratch"
    data: str = "sample"


def main(config: Config, run: Run | None = None) -> None:
    """Measures all claims, or those that ``run`` has not measured yet."""
    processes.expect_one("claims")
    digits = find_digits(config.data)
    config = replace(config, data=digits.source)
    run = run or Run.create(config, "claims")
    (backend,) = BACKENDS[config.backend]
    bench = Bench(backend, config.device, config.seed, digits, thorough=config.preset == "full")
    rows: list[dict[str, Any]] = checkpoint.load(run)["findings"] if run.reopened else []
    resume = f"continue with: {run.resume_command()}"
    with (
        writing(run.folder, f"free some space, then {resume}"),
        ReportPage(run, LOOK_FOR) as page,
        checkpoint.Interrupts() as interrupts,
    ):
        for measure, row in zip(MEASUREMENTS, rows, strict=False):
            write_again(page, measure.__name__, row)
        for measure in MEASUREMENTS[len(rows) :]:
            finding = measure(bench)
            rows.append(as_row(finding))
            print(
                f"claim     {finding.claim}\nverdict   {finding.verdict}\nmeasured  {finding.measured}\n",
                flush=True,
            )
            if finding.figure is not None:
                page.figure(measure.__name__, finding.figure)
            write_numbers(page, measure.__name__, rows[-1])
            state = {"step": len(rows), "findings": rows}
            checkpoint.save(run, run.checkpoint, state, keep=run.previous)
            if interrupts.pressed:
                raise Interrupted(f"interrupted after {len(rows)} of {len(MEASUREMENTS)} claims; {resume}")
        page.text("claims", as_markdown(rows, config))
        print(as_markdown(rows, config))
        run.write_text("metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        page.conclude([f"{row['claim']}: {row['verdict']}" for row in rows])
    run.finish({"claims": len(rows), "verdicts": {row["claim"]: row["verdict"] for row in rows}})


LOOK_FOR = """
The images show the measurements for the claims of the tutorial; the page **claims** has a table of claims, verdicts
and measurements. In the plot of the gradient by layer, the gradient with sigmoids falls by orders of magnitude toward
the input, which made deep networks hard to train."""


def write_numbers(page: ReportPage, name: str, row: Mapping[str, Any]) -> None:
    """Writes the numbers of a finding to TensorBoard."""
    assert page.writer is not None
    for number, value in row["numbers"].items():
        page.writer.add_scalar(f"metrics/{name}/{number}", value, 0)


def write_again(page: ReportPage, name: str, row: Mapping[str, Any]) -> None:
    """Writes the results of an earlier process again, because TensorBoard discards its records in a continued run."""
    write_numbers(page, name, row)
    picture = page.run.folder / f"{name}.png"
    if picture.is_file():
        assert page.writer is not None
        page.writer.add_image(f"{PREFIX}/{name}", imread(picture), 0, dataformats="HWC")


def as_row(finding: Finding) -> dict[str, Any]:
    return {
        "claim": finding.claim,
        "verdict": finding.verdict,
        "measured": finding.measured,
        "numbers": dict(finding.numbers),
    }


def as_markdown(rows: list[dict[str, Any]], config: Config) -> str:
    """Formats the tables of claims and of sources."""
    claims = [(row["claim"], row["verdict"], row["measured"]) for row in rows]
    return "\n".join(
        (
            f"# The tutorial's claims, measured ({config.backend}, {config.device}, seed {config.seed})\n",
            markdown_table(("claim", "verdict", "measurement"), claims),
            "\n## Who proposed what, and when\n",
            markdown_table(("year", "what", "source"), SOURCES),
        )
    )
