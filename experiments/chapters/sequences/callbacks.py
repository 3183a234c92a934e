"""Measurements besides the loss: the gradient with respect to the state at each time, and samples of the output."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from experiments.chapters.sequences.networks import Cell, SequenceModel, calculate, write
from experiments.chapters.sequences.settings import Config
from experiments.chapters.sequences.tasks import SequenceTask
from experiments.data import source
from experiments.figures.curves import Curve, curves
from experiments.report_page import PREFIX, ReportPage
from experiments.settings import Settings
from experiments.training import CallbackState, Learner, Training
from experiments.training.learner import Callback

__all__ = ["DECAY", "gradient_through_time", "make_callback", "plot_gradients", "write_source"]

DECAY = "gradient_first_to_last_log10"
PROBES = 32  # test sequences on which the gradient is measured
OPENING, WRITTEN, TEMPERATURE = "    def __init__(self", 400, 0.7
CALCULATED = 8  # sums in a sample
LEAST = 1e-30  # smallest norm in a ratio
AXIS = 1e-12, 10.0  # of all plots, so that networks and times can be compared


def make_callback(task: SequenceTask, config: Config) -> Callback:
    """Returns the callback that plots gradients and writes samples after each evaluation."""

    def callback(state: CallbackState) -> dict[str, float]:
        model = state.learner.model
        assert isinstance(model, SequenceModel)
        assert state.evaluation is not None
        norms = gradient_norms(state.learner, model, task)
        lines = {f"∂loss/∂{name}": over_time(values) for name, values in norms.items()}
        title = f"Gradient of the loss for the state at each time, after {state.step} steps"
        figure = curves(title, lines, x="time", y="norm of the gradient", log="y", limits=AXIS)
        state.writer.add_figure(f"{PREFIX}/gradient_through_time", figure, state.step)
        if (text := sample(model, task, config)) is not None:
            state.writer.add_text(f"{PREFIX}/written", "    " + text.replace("\n", "\n    "), state.step)
            state.run.write_text("written.txt", text + "\n")
        ratio = max(norms["h"][0], LEAST) / max(norms["h"][-1], LEAST)
        found = {DECAY: math.log10(ratio)}
        if task.metric == "bits_per_character":
            found["bits_per_character"] = state.evaluation.metrics["loss"] / math.log(2)
        return found

    return callback


def plot_gradients(page: ReportPage, trained: Mapping[Cell, Training], task: SequenceTask, config: Config) -> None:
    """Plots the gradient through time of all networks before and after training."""
    before: dict[str, Curve] = {}
    after: dict[str, Curve] = {}
    for cell, training in trained.items():
        learner = training.learners[0]
        torch.manual_seed(config.seed)
        untrained = SequenceModel(learner.backend, cell, hidden=config.hidden, **task.network)
        assert isinstance(learner.model, SequenceModel)
        models = ((before, untrained.to(config.device, config.torch_dtype)), (after, learner.model))
        for lines, model in models:
            for name, values in gradient_norms(learner, model, task).items():
                lines[f"{cell}, {name}"] = over_time(values)
    for figure, when, lines in (("1_gradient_before", "before", before), ("2_gradient_after", "after", after)):
        title = f"Gradient of the loss for the state at each time, {when} training"
        page.figure(figure, curves(title, lines, x="time", y="norm of the gradient", log="y", limits=AXIS))


def gradient_norms(learner: Learner, model: SequenceModel, task: SequenceTask) -> dict[str, list[float]]:
    """Returns `gradient_through_time` for the first test sequences."""
    inputs, targets = (tensor[:PROBES].to(learner.settings.device) for tensor in task.test)
    return gradient_through_time(model, task.prepare(inputs.clone()), targets, learner.criterion)


def over_time(norms: list[float]) -> Curve:
    return range(1, len(norms) + 1), [max(norm, AXIS[0]) for norm in norms]


def sample(model: SequenceModel, task: SequenceTask, config: Config) -> str | None:
    """Returns text or sums that the network writes; ``None`` for tasks without written output."""
    if config.task == "arithmetic":
        return "\n".join(calculate(model, task.test[0][:CALCULATED].to(config.device)))
    if config.task == "text":
        return write_source(model, config)
    return None


def write_source(model: nn.Module, settings: Settings) -> str:
    """Returns Python that a model of text writes, with the opening that it continues."""
    assert isinstance(model, SequenceModel)
    opening = source.encode(OPENING).long().to(settings.device)
    return OPENING + source.decode(write(model, opening, WRITTEN, TEMPERATURE, settings.seed))


def gradient_through_time(
    model: SequenceModel, inputs: Tensor, targets: Tensor, criterion: Any
) -> dict[str, list[float]]:
    r"""Returns the mean over sequences of :math:`\|\partial L / \partial h_t\|` at every time, for an LSTM's cell too.

    The network reads element by element, so that each state is a tensor of its own and autograd returns the total
    derivative, through the answer and through all later states.

    Args:
        model: The network; its parameters' gradients are left alone.
        inputs: Prepared sequences, (B, T, …).
        targets: Their answers.
        criterion: The loss, a mean over the batch.

    Returns:
        The norms by name of the state: ``"h"``, and for an LSTM ``"c"``, at all times except the last.
    """
    state: Any = None
    states: dict[str, list[Tensor]] = {"h": [], "c": []}
    # cuDNN supports backward only in training mode, but the network may be in evaluation mode.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        for element in model.embedding(inputs).split(1, 1):
            _, state = model.recurrent(element, state)
            for name, tensor in zip("hc", state if isinstance(state, tuple) else (state,), strict=False):
                states[name].append(tensor)
        loss = criterion(model.answer(torch.stack([h[0] for h in states["h"]], 1)), targets)
        del states["c"][-1:]  # the last cell does not affect the loss
        gradients = torch.autograd.grad(loss, [*states["h"], *states["c"]])
    norms = [len(inputs) * gradient[0].norm(dim=1).mean().item() for gradient in gradients]
    times = len(states["h"])
    return {"h": norms[:times]} | ({"c": norms[times:]} if states["c"] else {})
