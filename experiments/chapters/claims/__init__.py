"""The tutorial's claims, each beside a measurement: which are true, and which are not.

Each row of the table is a function that measures and returns a `Finding`, in the file of its subject. A verdict is
computed from what was just measured; only who proposed what, and when, has sources instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from matplotlib.image import imread

from experiments import processes
from experiments.backend import BACKENDS
from experiments.chapters.claims.cost import cost_of_activations
from experiments.chapters.claims.depth import gradients_in_depth
from experiments.chapters.claims.finding import Bench, Finding, Measurement
from experiments.chapters.claims.maxout import maxout_is_no_default
from experiments.chapters.claims.numerics import logistic_against_tanh
from experiments.chapters.claims.record import SOURCES, back_propagation, support_vector_machine
from experiments.chapters.claims.shapes import (
    formula_of_tanh,
    relu_is_no_parabola,
    slope_of_sigmoid,
    tails_of_tanh,
)
from experiments.chapters.claims.training import dead_units, elu_against_relu, elus_alpha
from experiments.digit_task import find_digits
from experiments.errors import Interrupted
from experiments.report_page import STORY, Album, markdown_table
from experiments.run import Run, writing
from experiments.settings import CommonSettings
from experiments.training import checkpoint
from experiments.training.interrupts import Interrupts

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
    """Measures what the tutorial claims, and writes claim beside verdict and measurement.

    Networks learn from the sample of 5000 digits that comes with the repository, unless --data says otherwise.

    Args:
        preset: quick takes few steps and seeds; full takes more of both, more learning rates and deeper networks.
        backend: Whose activations, layers and gradients are measured: those of this repository, or PyTorch's.
        data: Folder that holds MNIST as torchvision stores it, or "sample" for the bundled digits.
    """

    backend: Literal["scratch", "builtin"] = "scratch"
    data: str = "sample"


def main(config: Config, run: Run | None = None) -> None:
    """Measures from the first claim on, or goes on after the last one that ``run`` has measured."""
    processes.expect_one("claims")
    digits = find_digits(config.data)
    config = replace(config, data=digits.source)
    run = run or Run.create(config, "claims")
    (backend,) = BACKENDS[config.backend]
    bench = Bench(backend, config.device, config.seed, digits, thorough=config.preset == "full")
    rows: list[dict[str, Any]] = checkpoint.load(run.checkpoint)["findings"] if run.reopened else []
    resume = f"continue with: {run.resume_command()}"
    with (
        writing(run.folder, f"make room, then {resume}"),
        Album(run, LOOK_FOR) as album,
        Interrupts() as interrupts,
    ):
        for measure, row in zip(MEASUREMENTS, rows, strict=False):
            show_again(album, measure.__name__, row)
        for measure in MEASUREMENTS[len(rows) :]:
            finding = measure(bench)
            rows.append(as_row(finding))
            print(
                f"claim     {finding.claim}\nverdict   {finding.verdict}\nmeasured  {finding.measured}\n",
                flush=True,
            )
            if finding.figure is not None:
                album.figure(measure.__name__, finding.figure)
            show_numbers(album, measure.__name__, rows[-1])
            checkpoint.save(run.checkpoint, {"findings": rows})
            if interrupts.pressed:
                raise Interrupted(f"interrupted after {len(rows)} of {len(MEASUREMENTS)} claims; {resume}")
        album.page("claims", as_markdown(rows, config))
        print(as_markdown(rows, config))
        run.write_text("metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        album.conclude([f"{row['claim']}: {row['verdict']}" for row in rows])
    run.finish({"claims": len(rows), "verdicts": {row["claim"]: row["verdict"] for row in rows}})


LOOK_FOR = """The images beside this page are what was measured for the claims of the tutorial; the page **claims** has
the table, claim beside verdict and measurement. Look at the gradient by layer: with sigmoid it falls by orders of
magnitude on its way back through the network, which is why deep networks were hard to train."""


def show_numbers(album: Album, name: str, row: Mapping[str, Any]) -> None:
    """Puts the numbers of a finding into TensorBoard."""
    assert album.writer is not None
    for number, value in row["numbers"].items():
        album.writer.add_scalar(f"{name}/{number}", value, 0)


def show_again(album: Album, name: str, row: Mapping[str, Any]) -> None:
    """Shows what an earlier process measured, whose records are void in a run that is continued."""
    show_numbers(album, name, row)
    picture = album.run.folder / f"{name}.png"
    if picture.is_file():
        assert album.writer is not None
        album.writer.add_image(f"{STORY}/{name}", imread(picture), 0, dataformats="HWC")


def as_row(finding: Finding) -> dict[str, Any]:
    """The finding as plain values."""
    return {
        "claim": finding.claim,
        "verdict": finding.verdict,
        "measured": finding.measured,
        "numbers": dict(finding.numbers),
    }


def as_markdown(rows: list[dict[str, Any]], config: Config) -> str:
    """The table of claims, and that of sources."""
    claims = [(row["claim"], row["verdict"], row["measured"]) for row in rows]
    return "\n".join(
        (
            f"# The tutorial's claims, measured ({config.backend}, {config.device}, seed {config.seed})\n",
            markdown_table(("claim", "verdict", "measurement"), claims),
            "\n## Who proposed what, and when\n",
            markdown_table(("year", "what", "source"), SOURCES),
        )
    )
