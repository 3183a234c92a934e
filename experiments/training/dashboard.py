"""Pages, chart layouts and pictures that TensorBoard shows beside the monitor's curves.

========================  ==========================================================================================
Text                      the task, what to look for, the configuration
Custom Scalars            charts of learning progress and of the network's health, on one page
Images                    ``pictures/mistakes``: the wrong answers with the highest probability
PR Curves                 precision against recall of each class, at each evaluation
Projector                 with ``--projector``: the last hidden layer's outputs for test examples, colored by class
========================  ==========================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from experiments.figures.pictures import gallery
from experiments.run import Run
from experiments.training.evaluation import Evaluation
from experiments.training.learner import Learner
from experiments.training.task import Task

__all__ = ["HEALTHY", "introduce", "layout", "project", "show_answers"]

MOST_CURVES = 20  # maximum number of classes with curves of precision and recall
MISTAKES = 12
PROJECTED = 500

# Charts by category: a title, and a regular expression of tags. Each has at most a few lines for a network.
CHARTS: dict[str, dict[str, str]] = {
    "does it learn": {"loss": "loss/", "accuracy": "accuracy/"},
    "is it in good health": {
        "gradient norm: largest and smallest of the layers": "over_layers/gradient_norm/",
        "update to weight ratio, log10: largest and smallest of the layers": "over_layers/update_ratio_log10/",
        "share of dead units: largest and smallest of the layers": "over_layers/units_dead/",
        "share of saturated outputs: largest and smallest of the layers": "over_layers/units_saturated/",
        "spread of outputs: largest and smallest of the layers": "over_layers/outputs_std/",
        "learning rate": "optimizer/learning_rate",
    },
    "do the twins stay together": {
        "difference of the losses": "twin/loss_difference",
        "largest difference of a parameter's gradient or weight": "twin/largest_",
        "first layer whose outputs differ, -1 for none": "twin/first_departure",
    },
}

# What networks that learn here show, save in the first and last steps of a schedule; below `over_layers`.
HEALTHY = {"update_ratio_log10": (-4.0, -1.5), "units_dead": (0.0, 0.5), "units_saturated": (0.0, 0.5)}

GUIDE = """
## What to look for

| where | what | healthy value |
|---|---|---|
| Custom Scalars | the curves below, on one page | |
| Time Series, `accuracy`, `loss` | for training batches and test set | close to each other; a gap is overfitting |
| `per_layer_gradient_norm` | how much of the gradient reaches each layer | within a factor of 100 of each other |
| `per_layer_update_ratio_log10` | size of a step relative to the weights | -4 to -1.5; slow below, unstable above |
| `units_dead`, `units_saturated` | units without a gradient | below 0.5 in hidden layers |
| `over_layers` | the largest and smallest of these and of other figures of the layers | |
| Images, `pictures/confusion` | true and predicted classes | a blue diagonal |
| Images, `pictures/mistakes` | wrong answers, most confident first | images that are hard for people too |
| PR Curves | precision against recall, by class | in the upper right corner |
| Histograms, Distributions | weights and their gradients | spread out, no single peak |
| HParams | this run beside the others of the folder | |
"""


def introduce(writer: SummaryWriter, run: Run, learner: Learner, description: str) -> None:
    """Writes the text page of a network's training."""
    parameters = sum(parameter.numel() for parameter in learner.model.parameters())
    title = " ".join(filter(None, [run.chapter, run.part_name]))
    settings = "\n".join(f"| {name} | {value} |" for name, value in run.config.items() if value is not None)
    page = (
        f"# {title}\n\n{description}\n\n{parameters:,} weights, {learner.name} layers. Continue the run with "
        f"`{run.resume_command()}`.\n{GUIDE}\n## Configuration\n\n| setting | value |\n|---|---|\n{settings}\n"
    )
    writer.add_text("about this run", page, 0)


def layout(tags: Collection[str]) -> dict[str, dict[str, list[Any]]]:
    """Returns the charts of Custom Scalars that have curves, for a network that writes these tags.

    Networks with the same tags have the same charts, which TensorBoard merges.
    """
    own = dict.fromkeys(tag.split("/")[1] for tag in sorted(tags) if tag.startswith("metrics/"))
    charts = {**CHARTS, "this chapter's own metrics": {name: f"metrics/{re.escape(name)}/" for name in own}}
    found = {
        category: {
            title: ["Multiline", [f"{pattern}.*"]]
            for title, pattern in each.items()
            if any(re.match(pattern, tag) for tag in tags)
        }
        for category, each in charts.items()
    }
    return {category: each for category, each in found.items() if each}


def show_answers(writer: SummaryWriter, task: Task, evaluation: Evaluation, step: int) -> None:
    """Writes precision and recall by class, and pictures of mistakes, for classification tasks."""
    if not evaluation.outputs:
        return
    outputs, targets = torch.cat(list(evaluation.outputs)), torch.cat(list(evaluation.targets))
    likely = outputs.double().softmax(1)  # the same for logits and log probabilities
    classes = task.classes or tuple(map(str, range(outputs.shape[1])))
    if len(classes) <= MOST_CURVES and bool(likely.isfinite().all()):
        for i, name in enumerate(classes):
            writer.add_pr_curve(f"precision and recall/{name}", targets == i, likely[:, i], step)
    wrong = (likely.argmax(1) != targets).nonzero().flatten()
    if task.picture is not None and len(wrong):
        ranked = wrong[likely[wrong].amax(1).argsort(descending=True, stable=True)]
        chosen = ranked[:MISTAKES]
        labels = [
            f"{classes[targets[i]]} → {classes[likely[i].argmax()]}  {likely[i].max():.2f}"
            for i in chosen.tolist()
        ]
        title = f"{len(wrong)} mistakes of {len(targets)}, most confident first:\ntrue → predicted, probability"
        pictures = task.picture(task.test[0].cpu()[chosen])
        writer.add_figure("pictures/mistakes", gallery(pictures, labels, title), step)


def project(writer: SummaryWriter, task: Task, learner: Learner, step: int) -> None:
    """Writes the inputs of the last layer with weights, for test examples, to the projector."""
    layers = [module for module in learner.model.modules() if any(True for _ in module.parameters(recurse=False))]
    hidden: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any) -> None:
        hidden.append(inputs[0].detach())

    handle = layers[-1].register_forward_pre_hook(keep)
    inputs, targets = task.test[0][:PROJECTED], task.test[1][:PROJECTED]
    try:
        learner.evaluate(inputs, targets)
    finally:
        handle.remove()
    names = None if targets.ndim > 1 else [_name(task, target) for target in targets.tolist()]
    pictures = None if task.picture is None else task.picture(inputs.cpu()).unsqueeze(1)
    outputs = torch.cat(hidden).flatten(1).float().cpu()
    writer.add_embedding(outputs, names, pictures, step, tag="last hidden layer")


def _name(task: Task, target: float) -> str:
    return str(target) if task.classes is None else task.classes[int(target)]
