"""Trains a small causal transformer beside an LSTM and a GRU of its size.

A gated network carries what it has read in a state of fixed size, step by step; attention looks back at all of it at
once. The chapter plots the loss against the length of the way back, and what attention looks at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from experiments.backend import Backend
from experiments.chapters.attention.networks import TransformerModel, attention_weights, equal_hidden
from experiments.chapters.attention.settings import NETWORKS, Config, Network
from experiments.chapters.sequences import tasks
from experiments.chapters.sequences.callbacks import write_source
from experiments.chapters.sequences.networks import SequenceModel
from experiments.chapters.sequences.tasks import SequenceTask
from experiments.data import source
from experiments.data.sequences import COPIED
from experiments.figures.attention import maps
from experiments.figures.curves import Curve, curves
from experiments.report_page import PREFIX, ReportPage
from experiments.run import Run
from experiments.settings import Settings
from experiments.training import CallbackState, Training, summary, train
from experiments.training.learner import Callback

__all__ = ["Config", "main"]

LOOK_FOR = """
A causal **transformer**, an **lstm** and a **gru** with equal numbers of parameters learn by AdamW, one run for each
network and problem.

1. **`1_copying`** shows the test loss after learning to repeat ten symbols after a delay, for three delays. A gated
   network must hold the symbols in its state through every step of the delay; attention reads them where they are.
2. **`2_copying_attention`** shows at what the transformer looks while it answers: some head looks back by the same
   distance at each time, a diagonal over the ten symbols. The runs have the same maps for each evaluation.
3. **`3_text`** shows the loss for each character of a chunk of text, given those before it in the chunk. A curve
   falls as far as its network uses what it has read.
4. **`4_text_attention`** shows at which characters the heads look in a line of Python, and **`…_writes`** what each
   network writes.
"""
TESTED = 500  # sequences
LINE = "    def __init__(self, name):"
SMOOTHED = 5  # positions


def main(config: Config, run: Run | None = None) -> None:
    run = run or Run.create(config, "attention")
    with ReportPage(run, LOOK_FOR) as page:
        results = copy(page, run, config) if config.task != "text" else {}
        if config.task != "copy":
            results |= learn_text(page, run, config)
        head = ("problem", "network", "parameters", "result", "without reading", "seconds")
        page.table("5_results", "after equally many steps", head, [row for row, _ in results.values()])
        page.conclude([f"{row[0]}: {row[1]} {row[3]}; without reading {row[4]}." for row, _ in results.values()])
        run.finish({part: found for part, (_, found) in results.items()})


Results = dict[str, tuple[tuple[str, ...], dict[str, Any]]]


def copy(page: ReportPage, run: Run, config: Config) -> Results:
    """Learns the copy problem with each delay."""
    delays = [config.delay // 16, config.delay // 4, config.delay]
    results: Results = {}
    losses: dict[str, Curve] = {}
    for network in chosen(config):
        found = []
        for delay in delays:
            task = tasks.copying(config.examples, delay)
            training = learn(run, f"copy_{delay}_{network}", network, task, config)
            found.append(training.results[training.learners[0].name]["loss"])
            note(results, training, task, f"copying after {delay}", network)
            if network == "transformer" and delay == delays[1]:
                page.figure("2_copying_attention", look_at_copying(training.learners[0].model, task))
        losses[network] = delays, found
    losses["no memory"] = delays, [math.log(8)] * len(delays)
    title = "Test loss after learning to copy"
    page.figure("1_copying", curves(title, losses, x="delay", y="cross entropy per symbol", log="y"))
    return results


def learn_text(page: ReportPage, run: Run, config: Config) -> Results:
    """Learns the source of the standard library."""
    task = tasks.text(config.length)
    results: Results = {}
    losses: dict[str, Curve] = {}
    for network in chosen(config):
        training = learn(run, f"text_{network}", network, task, config)
        note(results, training, task, "text", network)
        model = training.learners[0].model
        losses[network] = range(1, config.length + 1), loss_by_position(model, task, training.settings)
        if network == "transformer":
            page.figure("4_text_attention", look_at_text(model))
        page.text(f"{network}_writes", f"Text of the {network}:\n\n```\n{write_source(model, config)}\n```")
    title = "Loss for each character of a chunk"
    page.figure("3_text", curves(title, losses, x="characters read", y="bits per character"))
    return results


def chosen(config: Config) -> tuple[Network, ...]:
    return NETWORKS if config.network == "all" else (config.network,)


def learn(run: Run, part: str, network: Network, task: SequenceTask, config: Config) -> Training:
    """Trains one network on one problem."""
    inputs, targets = task.test
    task = replace(task, test=(inputs[:TESTED], targets[:TESTED]))
    return train(
        run.part(part, network=network),
        builder(network, task, config),
        task,
        config,
        optimizer=adamw,
        at_evaluation=make_callback(task, config),
    )


def builder(network: Network, task: SequenceTask, config: Config) -> Callable[[Backend], nn.Module]:
    """Returns a function that builds a network of the transformer's size."""

    def transformer(backend: Backend) -> TransformerModel:
        longest = task.test[0].shape[1]
        sizes = {"depth": config.depth, "heads": config.heads, "longest": longest}
        return TransformerModel(backend, hidden=config.width, **sizes, **task.network)

    def recurrent(backend: Backend) -> SequenceModel:
        assert network != "transformer"
        with torch.device("meta"):  # draws no random numbers
            hidden = equal_hidden(network, parameters(transformer(backend)), task.network)
        return SequenceModel(backend, network, hidden=hidden, **task.network)

    return transformer if network == "transformer" else recurrent


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def adamw(backend: Backend, model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    return backend.optim.AdamW(model.parameters(), lr=settings.lr, betas=(settings.momentum, 0.999))


def make_callback(task: SequenceTask, config: Config) -> Callback:
    """Returns the callback that draws attention and writes text after each evaluation."""
    is_text = task.metric == "bits_per_character"

    def callback(state: CallbackState) -> dict[str, float]:
        model = state.learner.model
        if isinstance(model, TransformerModel):
            figure = look_at_text(model) if is_text else look_at_copying(model, task)
            state.writer.add_figure(f"{PREFIX}/attention", figure, state.step)
        if not is_text:
            return {}
        text = write_source(model, config)
        state.writer.add_text(f"{PREFIX}/written", "    " + text.replace("\n", "\n    "), state.step)
        assert state.evaluation is not None
        return {task.metric: state.evaluation.metrics["loss"] / math.log(2)}

    return callback


def look_at_copying(model: nn.Module, task: SequenceTask) -> Figure:
    """Draws at which times each head looks while the model repeats the symbols of the first test sequence."""
    device = next(model.parameters()).device
    weights = {name: each[-COPIED:] for name, each in by_head(model, task.test[0][:1].to(device)).items()}
    title = "Attention while repeating ten symbols"
    return maps(title, weights, x="time that is read", y="symbol that is repeated")


def look_at_text(model: nn.Module) -> Figure:
    """Draws at which characters each head looks in a line of Python."""
    assert isinstance(model, TransformerModel)
    line = LINE[: model.recurrent.longest]
    codes = source.encode(line).long().to(next(model.parameters()).device)
    labels = line.replace(" ", "␣")
    weights = by_head(model, codes[None])
    return maps(
        "Attention in a line of Python", weights, x="character that is read", y="after character", labels=labels
    )


def by_head(model: nn.Module, inputs: Tensor) -> Mapping[str, Tensor]:
    """Returns the attention weights (T, T) of each head for one sequence."""
    assert isinstance(model, TransformerModel)
    return {
        f"block {block}, head {head}": each.float().cpu()
        for block, weights in enumerate(attention_weights(model, inputs), 1)
        for head, each in enumerate(weights[0], 1)
    }


@torch.no_grad()
def loss_by_position(model: nn.Module, task: SequenceTask, settings: Settings) -> list[float]:
    """Returns the mean loss in bits at each position of the test chunks, smoothed over a few positions."""
    inputs, targets = (tensor[:TESTED].to(settings.device) for tensor in task.test)
    scores = model(task.prepare(inputs)).log_softmax(1)
    losses = -scores.gather(1, targets[:, None]).double().mean((0, 1)) / math.log(2)
    return [losses[max(0, at - SMOOTHED + 1) : at + 1].mean().item() for at in range(len(losses))]


def note(results: Results, training: Training, task: SequenceTask, problem: str, network: Network) -> None:
    """Adds the row of a table and the summary of a training."""
    learner = training.learners[0]
    value = training.results[learner.name][task.metric]
    row = (
        problem,
        network,
        f"{parameters(learner.model):,}",
        f"{task.metric_name} {task.format(value)}",
        task.format(task.baseline),
        f"{training.seconds:.0f}",
    )
    found = {"figure": task.metric, "baseline": task.baseline, "value": value, **summary(training)}
    results[training.run.part_name or problem] = row, found
