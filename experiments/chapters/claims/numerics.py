"""How exact the logistic function and tanh are in float32, held against float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from experiments.chapters.claims.finding import Bench, Finding
from experiments.figures.curves import curves
from experiments.metrics.flatness import slope

__all__ = ["logistic_against_tanh", "textbook_tanh", "ulps"]

POINTS, EXTENT = 200_001, 15.0
BINS = 100


def ulps(value: Tensor, truth: Tensor) -> Tensor:
    """Errors of float32 values in units of the last place of the truth."""
    spacing = np.spacing(np.abs(truth.cpu().numpy()).astype(np.float32))
    return (value.double() - truth).abs().cpu() / torch.from_numpy(spacing).double()


def textbook_logistic(h: Tensor) -> Tensor:
    """The definition, typed in."""
    return 1 / (1 + (-h).exp())


def textbook_tanh(h: Tensor) -> Tensor:
    """The definition, typed in."""
    return (h.exp() - (-h).exp()) / (h.exp() + (-h).exp())


def logistic_against_tanh(bench: Bench) -> Finding:
    """The largest errors of both, as they are built here and as a textbook writes them."""
    h = torch.linspace(-EXTENT, EXTENT, POINTS, device=bench.device)
    layers = bench.backend.nn
    built = {"logistic": layers.Sigmoid(), "tanh": layers.Tanh()}
    typed: dict[str, Callable[[Tensor], Tensor]] = {"logistic": textbook_logistic, "tanh": textbook_tanh}
    numbers, lines = {}, {}
    edges = h.view(-1)[: POINTS // BINS * BINS].view(BINS, -1)
    for name, function in built.items():
        truth = function(h.double())
        for kind, error in (("", ulps(function(h), truth)), ("textbook_", ulps(typed[name](h), truth))):
            numbers[f"{kind}{name}_ulps"] = error.max().item()
            numbers[f"{kind}{name}_mean_ulps"] = error.mean().item()
            largest = error[: edges.numel()].view(BINS, -1).amax(1)
            label = f"{name}, typed in as defined" if kind else name
            lines[label] = (edges.mean(1).tolist(), largest.clamp(min=1e-2).tolist())
        steepness, exact = slope(function, h).double(), slope(function, h.double())
        numbers[f"{name}_slope_error"] = (steepness - exact).abs().max().item()
    far = torch.tensor([-1000.0, 1000.0], device=bench.device)
    lost = {name: not bool(function(far).isfinite().all()) for name, function in typed.items()}
    better = numbers["logistic_ulps"] < numbers["tanh_ulps"]
    worse_typed = (
        lost["tanh"] > lost["logistic"] or numbers["textbook_logistic_ulps"] < numbers["textbook_tanh_ulps"]
    )
    return Finding(
        "the logistic function is numerically more stable than tanh",
        f"{'true' if better else 'false'} as built; {'true' if worse_typed else 'false'} of the bare formulas",
        f"in float32 between ±{EXTENT:g} the logistic function errs by {numbers['logistic_ulps']:.2f} units in the "
        f"last place at most ({numbers['logistic_mean_ulps']:.2f} on average), tanh by {numbers['tanh_ulps']:.2f} "
        f"({numbers['tanh_mean_ulps']:.2f}), their slopes by {numbers['logistic_slope_error']:.0e} and "
        f"{numbers['tanh_slope_error']:.0e}. Typed in as defined: {numbers['textbook_logistic_ulps']:.2g} and "
        f"{numbers['textbook_tanh_ulps']:.2g} units, and at ±1000 {_fate(lost['logistic'])} and {_fate(lost['tanh'])}",
        numbers,
        curves(
            "Error in float32, largest in each stretch",
            lines,
            x="input",
            y="units in the last place",
            log="y",
        ),
    )


def _fate(lost: bool) -> str:
    return "NaN" if lost else "right"
