"""Measures the float32 errors of the logistic function and tanh, and the time of activations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from experiments.chapters.claims.finding import Bench, Finding
from experiments.figures.bars import columns
from experiments.figures.curves import curves
from experiments.metrics.gradients import slope
from experiments.metrics.timing import seconds_each

__all__ = ["cost_of_activations", "logistic_against_tanh", "textbook_tanh", "ulps"]

POINTS, EXTENT = 200_001, 15.0
BINS = 100
ELEMENTS = 2**20
SECONDS, SECONDS_OF_FULL = 1.0, 10.0
ACTIVATIONS = ("ReLU", "LeakyReLU", "ELU", "Sigmoid", "Tanh")


def ulps(value: Tensor, truth: Tensor) -> Tensor:
    """Returns the errors of float32 values in units in the last place of the exact values."""
    spacing = np.spacing(np.abs(truth.cpu().numpy()).astype(np.float32))
    return (value.double() - truth).abs().cpu() / torch.from_numpy(spacing).double()


def textbook_logistic(h: Tensor) -> Tensor:
    return 1 / (1 + (-h).exp())


def textbook_tanh(h: Tensor) -> Tensor:
    return (h.exp() - (-h).exp()) / (h.exp() + (-h).exp())


def logistic_against_tanh(bench: Bench) -> Finding:
    """Measures the largest errors of both functions, as implemented here and by their textbook formulas."""
    h = torch.linspace(-EXTENT, EXTENT, POINTS, device=bench.device)
    layers = bench.backend.nn
    built = {"logistic": layers.Sigmoid(), "tanh": layers.Tanh()}
    formulas: dict[str, Callable[[Tensor], Tensor]] = {"logistic": textbook_logistic, "tanh": textbook_tanh}
    numbers, lines = {}, {}
    edges = h.view(-1)[: POINTS // BINS * BINS].view(BINS, -1)
    for name, function in built.items():
        truth = function(h.double())
        for kind, error in (("", ulps(function(h), truth)), ("textbook_", ulps(formulas[name](h), truth))):
            numbers[f"{kind}{name}_ulps"] = error.max().item()
            numbers[f"{kind}{name}_mean_ulps"] = error.mean().item()
            largest = error[: edges.numel()].view(BINS, -1).amax(1)
            label = f"{name}, textbook formula" if kind else name
            lines[label] = (edges.mean(1).tolist(), largest.clamp(min=1e-2).tolist())
        steepness, exact = slope(function, h).double(), slope(function, h.double())
        numbers[f"{name}_slope_error"] = (steepness - exact).abs().max().item()
    far = torch.tensor([-1000.0, 1000.0], device=bench.device)
    lost = {name: not bool(function(far).isfinite().all()) for name, function in formulas.items()}
    better = numbers["logistic_ulps"] < numbers["tanh_ulps"]
    worse_formula = (
        lost["tanh"] > lost["logistic"] or numbers["textbook_logistic_ulps"] < numbers["textbook_tanh_ulps"]
    )
    return Finding(
        "the logistic function is numerically more stable than tanh",
        f"{'true' if better else 'false'} as built; {'true' if worse_formula else 'false'} of the textbook formulas",
        f"in float32 between ±{EXTENT:g} the logistic function errs by {numbers['logistic_ulps']:.2f} units in the "
        f"last place at most ({numbers['logistic_mean_ulps']:.2f} on average), tanh by {numbers['tanh_ulps']:.2f} "
        f"({numbers['tanh_mean_ulps']:.2f}), their slopes by {numbers['logistic_slope_error']:.0e} and "
        f"{numbers['tanh_slope_error']:.0e}. Textbook formulas: {numbers['textbook_logistic_ulps']:.2g} and "
        f"{numbers['textbook_tanh_ulps']:.2g} units, and at ±1000 {_fate(lost['logistic'])} and {_fate(lost['tanh'])}",
        numbers,
        curves(
            "Largest error in float32 by interval",
            lines,
            x="input",
            y="units in the last place",
            log="y",
        ),
    )


def _fate(lost: bool) -> str:
    return "NaN" if lost else "right"


def cost_of_activations(bench: Bench) -> Finding:
    """Measures the shortest times of a forward and backward pass."""
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
        "nanoseconds per element, forward and backward: "
        + ", ".join(f"{name} {value:.2f}" for name, value in each.items())
        + f"; the cheaper of sigmoid and tanh costs {least / each['ReLU']:.2f} times as much as ReLU",
        {f"{name.lower()}_nanoseconds": value for name, value in each.items()},
        columns("Time of a forward and backward pass", each, y="nanoseconds per element"),
    )
