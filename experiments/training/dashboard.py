"""What TensorBoard shows of a run beside the monitor's curves: a page that introduces it, a layout of charts, answers.

========================  ==========================================================================================
Text                      what is trained, what to look for, the configuration
Custom Scalars            the charts that tell whether it learns and whether it is in good health, on one page
Images                    ``pictures/mistakes``: the wrong answers that it is surest of
PR Curves                 precision against recall of each class, at each evaluation
Projector                 with ``--projector``: the last hidden layer's outputs for test examples, coloured by class
========================  ==========================================================================================
"""

from __future__ import annotations

import math
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from experiments.run import Run
from experiments.training.evaluation import Evaluation
from experiments.training.learner import Learner
from experiments.training.task import Task

__all__ = ["introduce", "introduce_twins", "project", "show_answers"]

MOST_CURVES = 20  # classes of which precision and recall are shown
MISTAKES = 24
PROJECTED = 500

LAYOUT: dict[str, dict[str, list[Any]]] = {
    "does it learn": {
        "loss": ["Multiline", ["loss/train", "loss/test"]],
        "accuracy": ["Multiline", ["accuracy/train", "accuracy/test"]],
        "this chapter's own figures": ["Multiline", ["metrics/.*"]],
    },
    "is it in good health": {
        "gradient norm by layer": ["Multiline", ["per_layer_gradient_norm/.*"]],
        "update to weight ratio by layer, log10: about -3": ["Multiline", ["per_layer_update_ratio_log10/.*"]],
        "share of dead units": ["Multiline", ["units_dead/.*"]],
        "share of saturated outputs": ["Multiline", ["units_saturated/.*"]],
        "spread of outputs by layer": ["Multiline", ["outputs_std/.*"]],
        "learning rate": ["Multiline", ["optimizer/learning_rate"]],
    },
}

TWIN_LAYOUT: dict[str, dict[str, list[Any]]] = {
    "do the twins stay together": {
        "difference of the losses": ["Multiline", ["twin/loss_difference"]],
        "difference of the gradients by parameter": ["Multiline", ["twin_gradient_difference/.*"]],
        "difference of the weights by parameter": ["Multiline", ["twin_weight_difference/.*"]],
        "first layer whose outputs part, -1 for none": ["Multiline", ["twin/first_departure"]],
    },
}

GUIDE = """
## What to look for

| where | what | healthy |
|---|---|---|
| Custom Scalars | everything below, on one page | |
| Time Series, `accuracy`, `loss` | of training batches and test set | together; a gap is overfitting |
| `per_layer_gradient_norm` | how much of the gradient reaches each layer | within a factor of 100 of each other |
| `per_layer_update_ratio_log10` | what a step changes of the weights | about -3; slow below -4, rash above -2 |
| `units_dead`, `units_saturated` | units without a gradient | below 0.1 |
| Images, `pictures/confusion` | which class is taken for which | a blue diagonal |
| Images, `pictures/mistakes` | the wrong answers it is surest of | ones that you would doubt too |
| PR Curves | precision against recall, by class | in the upper right corner |
| Histograms, Distributions | weights and their gradients | spread, no lone peak |
| HParams | this run among the others of the folder | |
"""


def introduce(writer: SummaryWriter, run: Run, learner: Learner, story: str) -> None:
    """Writes the page that introduces a network's training, and the layout of its charts."""
    parameters = sum(parameter.numel() for parameter in learner.model.parameters())
    title = " ".join(filter(None, [run.chapter, run.part_name]))
    settings = "\n".join(f"| {name} | {value} |" for name, value in run.config.items() if value is not None)
    page = (
        f"# {title}\n\n{story}\n\n{parameters:,} weights, of the {learner.name} layers. Continue it with "
        f"`{run.resume_command()}`.\n{GUIDE}\n## Configuration\n\n| setting | value |\n|---|---|\n{settings}\n"
    )
    writer.add_text("about this run", page, 0)
    writer.add_custom_scalars(LAYOUT)


def introduce_twins(writer: SummaryWriter) -> None:
    """Writes the layout of the charts that hold two networks against each other."""
    writer.add_custom_scalars(TWIN_LAYOUT)


def show_answers(writer: SummaryWriter, task: Task, evaluation: Evaluation, step: int) -> None:
    """Writes precision and recall by class, and pictures of mistakes, where examples belong to classes."""
    if not evaluation.outputs:
        return
    outputs, targets = torch.cat(list(evaluation.outputs)), torch.cat(list(evaluation.targets))
    likely = outputs.double().softmax(1)  # of logits, or of their logarithms of probability, which it leaves alone
    classes = task.classes or tuple(map(str, range(outputs.shape[1])))
    if len(classes) <= MOST_CURVES and bool(likely.isfinite().all()):
        for i, name in enumerate(classes):
            writer.add_pr_curve(f"precision and recall/{name}", targets == i, likely[:, i], step)
    wrong = (likely.argmax(1) != targets).nonzero().flatten()
    if task.picture is not None and len(wrong):
        surest = wrong[likely[wrong].amax(1).argsort(descending=True, stable=True)]
        shown = surest[:MISTAKES]
        labels = [
            f"{classes[targets[i]]} → {classes[likely[i].argmax()]}  {likely[i].max():.2f}" for i in shown.tolist()
        ]
        title = f"{len(wrong)} mistakes of {len(targets)}, the surest first: true → answered, probability"
        pictures = task.picture(task.test[0].cpu()[shown])
        writer.add_figure("pictures/mistakes", _gallery(pictures, labels, title), step)


def project(writer: SummaryWriter, task: Task, learner: Learner, step: int) -> None:
    """Writes what the last layer with weights receives for test examples, for the projector."""
    layers = [module for module in learner.model.modules() if any(True for _ in module.parameters(recurse=False))]
    received: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any) -> None:
        received.append(inputs[0].detach())

    handle = layers[-1].register_forward_pre_hook(keep)
    inputs, targets = task.test[0][:PROJECTED], task.test[1][:PROJECTED]
    try:
        learner.evaluate(inputs, targets)
    finally:
        handle.remove()
    names = None if targets.ndim > 1 else [_name(task, target) for target in targets.tolist()]
    pictures = None if task.picture is None else task.picture(inputs.cpu()).unsqueeze(1)
    hidden = torch.cat(received).flatten(1).float().cpu()
    writer.add_embedding(hidden, names, pictures, step, tag="last hidden layer")


def _name(task: Task, target: float) -> str:
    return str(target) if task.classes is None else task.classes[int(target)]


def _gallery(pictures: Tensor, labels: list[str], title: str) -> Figure:
    """Pictures of shape (N, H, W), each with a label above it."""
    columns = 6
    rows = math.ceil(len(pictures) / columns)
    height, width = pictures.shape[1:]
    gap = height // 3
    canvas = torch.ones(rows * (height + gap), columns * (width + gap) - gap)
    figure = Figure(figsize=(9, 0.5 + 1.5 * rows), layout="constrained")
    axes = figure.subplots()
    for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        top, left = i // columns * (height + gap) + gap, i % columns * (width + gap)
        canvas[top : top + height, left : left + width] = picture
        axes.text(left + width / 2, top - 1, label, ha="center", va="bottom", fontsize=9)
    axes.imshow(canvas.numpy(), cmap="gray", vmin=0, vmax=1)
    axes.set_axis_off()
    axes.set_title(title)
    return figure
