"""What a forward and a backward pass through each activation cost."""

from __future__ import annotations

import torch
from torch import nn

from experiments.chapters.claims.finding import Bench, Finding
from experiments.figures.columns import columns
from experiments.metrics.timing import seconds_each

__all__ = ["cost_of_activations"]

ELEMENTS = 2**20
SECONDS, SECONDS_OF_FULL = 1.0, 10.0
ACTIVATIONS = ("ReLU", "LeakyReLU", "ELU", "Sigmoid", "Tanh")


def cost_of_activations(bench: Bench) -> Finding:
    """Least times, taken in turns."""
    modules = {name: getattr(bench.backend.nn, name)() for name in ACTIVATIONS}
    x = torch.randn(ELEMENTS, device=bench.device, requires_grad=True)
    upstream = torch.randn(ELEMENTS, device=bench.device)

    def both_ways(module: nn.Module) -> None:
        torch.autograd.grad(module(x), x, upstream)
        if x.is_cuda:
            torch.cuda.synchronize(x.device)

    calls = [lambda module=module: both_ways(module) for module in modules.values()]
    seconds = seconds_each(*calls, budget=SECONDS_OF_FULL if bench.thorough else SECONDS)
    each = {name: 1e9 * time / ELEMENTS for name, time in zip(modules, seconds, strict=True)}
    least = min(each["Sigmoid"], each["Tanh"])
    return Finding(
        "ReLU costs less than sigmoid and tanh",
        "true" if each["ReLU"] < least else "false",
        "nanoseconds an element, forward and backward: "
        + ", ".join(f"{name} {value:.2f}" for name, value in each.items())
        + f"; of sigmoid and tanh the cheaper one costs {least / each['ReLU']:.2f} times as much as ReLU",
        {f"{name.lower()}_nanoseconds": value for name, value in each.items()},
        columns("Time of an activation, forward and backward", each, y="nanoseconds an element"),
    )
