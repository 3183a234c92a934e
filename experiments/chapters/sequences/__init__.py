"""Trains a plain recurrent network, an LSTM and a GRU on sequences that need a memory.

A network can use what it read long ago only if its gradient reaches back through all the steps since then. The
chapter plots the gradient at each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from experiments.chapters.sequences import tasks
from experiments.chapters.sequences.callbacks import DECAY, make_callback, plot_gradients
from experiments.chapters.sequences.networks import CELLS, Cell, SequenceModel
from experiments.chapters.sequences.settings import Config
from experiments.chapters.sequences.tasks import SequenceTask
from experiments.digit_task import find_digits
from experiments.report_page import ReportPage
from experiments.run import Run
from experiments.training import Training, summary, train

__all__ = ["Config", "main"]

LOOK_FOR = """
Networks learn {about}: **rnn**, **lstm** and **gru**, one run each.

1. **`loss/test`** and **`accuracy/test`** show which network learns the task. For comparison, {baseline}.
2. **`1_gradient_before`**, **`2_gradient_after`** show the norm of the gradient of the loss with respect to the state
   at each time. Where a curve falls toward the left, the network cannot learn to use early inputs. An LSTM keeps its
   memory in its cell, c, so compare that curve. The runs have the same plot for each evaluation.
3. **`gradient_first_to_last_log10`** under `metrics` shows the first norm of h relative to its last, over training.
"""


def main(config: Config, run: Run | None = None) -> None:
    task, config = make_task(config)
    print(f"{config.task}: to learn {task.about}")
    run = run or Run.create(config, "sequences", f"{config.task}-{config.backend}")
    with ReportPage(run, LOOK_FOR.format(about=task.about, baseline=task.comparison)) as page:
        trained: dict[Cell, Training] = {}
        for cell in CELLS if config.cell == "all" else (config.cell,):
            trained[cell] = train(
                run.part(cell),
                partial(SequenceModel, cell=cell, hidden=config.hidden, **task.network),
                task,
                replace(config, cell=cell),
                at_evaluation=make_callback(task, config),
            )
        plot_gradients(page, trained, task, config)
        conclude(page, run, trained, task)


def make_task(config: Config) -> tuple[SequenceTask, Config]:
    """Makes the task of the settings; also returns the settings with the source of the digits."""
    if config.task == "adding":
        return tasks.adding(config.examples, config.length, config.torch_dtype), config
    if config.task == "copy":
        return tasks.copying(config.examples, config.length), config
    if config.task == "arithmetic":
        return tasks.sums(config.examples), config
    if config.task == "text":
        return tasks.text(config.length), config
    digits = find_digits(config.data)
    return tasks.rows(digits, config.torch_dtype), replace(config, data=digits.source)


def conclude(page: ReportPage, run: Run, trained: Mapping[Cell, Training], task: SequenceTask) -> None:
    """Reports which networks learned the task, and finishes the run."""
    results = {cell: training.results[training.learners[0].name] for cell, training in trained.items()}
    values = {cell: result[task.metric] for cell, result in results.items()}
    for cell, training in trained.items():
        sample = training.run.folder / "written.txt"
        if sample.is_file():
            page.text(f"{cell}_writes", f"Output of the {cell}:\n\n```\n{sample.read_text()}```")
            print(f"\noutput of the {cell}:\n{sample.read_text()}")
    rows = [
        (cell, task.format(value), f"{results[cell][DECAY]:.1f}", f"{trained[cell].seconds:.0f}")
        for cell, value in values.items()
    ]
    head = ("network", f"test {task.metric_name}", "log10 of first / last gradient", "seconds")
    page.table("3_results", f"after learning {task.about}", head, rows)
    page.conclude(
        [
            *(f"{cell} {task.verdict(value)}: {task.format(value)}." for cell, value in values.items()),
            f"For comparison, {task.comparison}.",
        ]
    )
    run.finish(
        {
            "figure": task.metric,
            "baseline": task.baseline,
            "values": values,
            "networks": {cell: summary(training) for cell, training in trained.items()},
        }
    )
