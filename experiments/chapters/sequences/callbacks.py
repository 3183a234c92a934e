"""What is looked at beside the loss: the gradient on its way back through time, and what a network writes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch

from experiments.chapters.sequences.networks import Cell, Reader
from experiments.chapters.sequences.samples import calculate, write
from experiments.chapters.sequences.settings import Config
from experiments.chapters.sequences.tasks import Puzzle
from experiments.chapters.sequences.through_time import gradient_through_time
from experiments.data import source
from experiments.figures.curves import Curve, curves
from experiments.report_page import STORY, Album
from experiments.training import Learner, Moment, Training

__all__ = ["DECAY", "show_gradients", "watching"]

DECAY = "gradient_first_to_last_log10"
PROBES = 32  # sequences of the test set for which the gradient is followed back
OPENING, WRITTEN, TEMPERATURE = "    def __init__(self", 400, 0.7
CALCULATED = 8  # sums that are shown
LEAST = 1e-30  # of a norm that is shown: zero does not fit on a logarithmic axis


def watching(puzzle: Puzzle, config: Config) -> Callable[[Moment], dict[str, float]]:
    """What is to be called after each evaluation."""

    def look(moment: Moment) -> dict[str, float]:
        reader = moment.learner.model
        assert isinstance(reader, Reader)
        assert moment.evaluation is not None
        norms = follow_back(moment.learner, reader, puzzle)
        lines = {f"∂loss/∂{state}": over_time(values) for state, values in norms.items()}
        title = f"Gradient of the loss for the state at each time, after {moment.step} steps"
        figure = curves(title, lines, x="time", y="norm of the gradient", log="y")
        moment.writer.add_figure(f"{STORY}/gradient_through_time", figure, moment.step)
        if (sample := written(reader, puzzle, config)) is not None:
            moment.writer.add_text(f"{STORY}/written", "    " + sample.replace("\n", "\n    "), moment.step)
            moment.run.write_text("written.txt", sample + "\n")
        left = max(norms["h"][0], LEAST) / max(norms["h"][-1], LEAST)
        found = {DECAY: math.log10(left)}
        if puzzle.figure == "bits_per_character":
            found["bits_per_character"] = moment.evaluation.figures["loss"] / math.log(2)
        return found

    return look


def show_gradients(album: Album, trained: Mapping[Cell, Training], puzzle: Puzzle, config: Config) -> None:
    """The gradient through time of all kinds of network, before they learned and after."""
    before: dict[str, Curve] = {}
    after: dict[str, Curve] = {}
    for cell, training in trained.items():
        learner = training.learners[0]
        torch.manual_seed(config.seed)
        fresh = Reader(learner.backend, cell, hidden=config.hidden, **puzzle.network)
        experienced = learner.model
        assert isinstance(experienced, Reader)
        readers = ((before, fresh.to(config.device, config.torch_dtype)), (after, experienced))
        for lines, reader in readers:
            for state, values in follow_back(learner, reader, puzzle).items():
                lines[f"{cell}, {state}"] = over_time(values)
    for name, when, lines in (("1_gradient_before", "before", before), ("2_gradient_after", "after", after)):
        title = f"Gradient of the loss for the state at each time, {when} training"
        album.figure(name, curves(title, lines, x="time", y="norm of the gradient", log="y"))


def follow_back(learner: Learner, reader: Reader, puzzle: Puzzle) -> dict[str, list[float]]:
    """Norms of the gradient by time, for the first sequences of the test set."""
    inputs, targets = (tensor[:PROBES].to(learner.settings.device) for tensor in puzzle.task.test)
    return gradient_through_time(reader, puzzle.task.prepare(inputs.clone()), targets, learner.criterion)


def over_time(norms: list[float]) -> Curve:
    """A curve that a logarithmic axis can show."""
    return range(1, len(norms) + 1), [max(norm, LEAST) for norm in norms]


def written(reader: Reader, puzzle: Puzzle, config: Config) -> str | None:
    """What the network writes, where that is what it learned."""
    if config.task == "arithmetic":
        return "\n".join(calculate(reader, puzzle.task.test[0][:CALCULATED].to(config.device)))
    if config.task == "text":
        opening = source.encode(OPENING).long().to(config.device)
        return OPENING + source.decode(write(reader, opening, WRITTEN, TEMPERATURE, config.seed))
    return None
