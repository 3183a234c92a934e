"""A plain recurrent network, an LSTM and a GRU learn from sequences what takes a memory, side by side.

Whether a network can use what it read long ago is a matter of its gradient: it must come back through all the
steps since then. Watch whether it does in the pictures of the gradient at each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from experiments.chapters.sequences import tasks as puzzles
from experiments.chapters.sequences.callbacks import DECAY, show_gradients, watching
from experiments.chapters.sequences.networks import CELLS, Cell, Reader
from experiments.chapters.sequences.settings import Config
from experiments.chapters.sequences.tasks import Puzzle
from experiments.digit_task import find_digits
from experiments.report_page import Album
from experiments.run import Run
from experiments.training import Training, summary, train

__all__ = ["Config", "main"]

LOOK_FOR = """
Networks learn {about}: **rnn**, **lstm** and **gru**, a run each.

1. **`loss/test`** and **`accuracy/test`**: who learns it. For comparison, {baseline}.
2. **`1_gradient_before`**, **`2_gradient_after`**: how large the gradient of the loss is for the state at each time.
   Where a curve falls toward the left, the network cannot learn to use what it read early on. What an LSTM knows it
   keeps in its cell, c, so that is the curve to compare. The runs have it for each evaluation.
3. **`gradient_first_to_last_log10`** under `metrics`: the first value of h beside its last, over training.
"""


def main(config: Config, run: Run | None = None) -> None:
    """Trains each kind of network from the start, or continues ``run``."""
    puzzle, config = make(config)
    print(f"{config.task}: to learn {puzzle.about}")
    run = run or Run.create(config, "sequences", f"{config.task}-{config.backend}")
    about = LOOK_FOR.format(about=puzzle.about, baseline=puzzle.comparison)
    with Album(run, about) as album:
        trained: dict[Cell, Training] = {}
        for cell in CELLS if config.cell == "all" else (config.cell,):
            trained[cell] = train(
                run.part(cell),
                partial(Reader, cell=cell, hidden=config.hidden, **puzzle.network),
                puzzle.task,
                replace(config, cell=cell),
                at_evaluation=watching(puzzle, config),
            )
        show_gradients(album, trained, puzzle, config)
        conclude(album, run, trained, puzzle)


def make(config: Config) -> tuple[Puzzle, Config]:
    """The sequences that the settings ask for, and the settings, with the place where the digits are."""
    if config.task == "adding":
        return puzzles.adding(config.examples, config.length, config.torch_dtype), config
    if config.task == "copy":
        return puzzles.copying(config.examples, config.length), config
    if config.task == "arithmetic":
        return puzzles.sums(config.examples), config
    if config.task == "text":
        return puzzles.text(config.length), config
    digits = find_digits(config.data)
    return puzzles.rows(digits, config.torch_dtype), replace(config, data=digits.source)


def conclude(album: Album, run: Run, trained: Mapping[Cell, Training], puzzle: Puzzle) -> None:
    """Says which network learned it and which did not, and ends the run."""
    results = {cell: training.results[training.learners[0].name] for cell, training in trained.items()}
    values = {cell: result[puzzle.figure] for cell, result in results.items()}
    for cell, training in trained.items():
        sample = training.run.folder / "written.txt"
        if sample.is_file():
            album.page(f"{cell}_writes", f"What the {cell} writes:\n\n```\n{sample.read_text()}```")
            print(f"\nwhat the {cell} writes:\n{sample.read_text()}")
    rows = [
        (cell, puzzle.shown(value), f"{results[cell][DECAY]:.1f}", f"{trained[cell].seconds:.0f}")
        for cell, value in values.items()
    ]
    head = ("network", f"test {puzzle.figure_name}", "log10 of first / last gradient", "seconds")
    album.table("3_results", f"after learning {puzzle.about}", head, rows)
    album.conclude(
        [
            *(f"{cell} {puzzle.verdict(value)}: {puzzle.shown(value)}." for cell, value in values.items()),
            f"For comparison, {puzzle.comparison}.",
        ]
    )
    run.finish(
        {
            "figure": puzzle.figure,
            "baseline": puzzle.baseline,
            "values": values,
            "networks": {cell: summary(training) for cell, training in trained.items()},
        }
    )
