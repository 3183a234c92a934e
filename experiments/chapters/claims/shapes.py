"""Measures the values and slopes of activations point by point."""

from __future__ import annotations

import torch

from experiments.chapters.claims.finding import Bench, Finding
from experiments.chapters.claims.numerics import textbook_tanh
from experiments.figures.curves import curves
from experiments.metrics.gradients import slope as slope_at

__all__ = ["formula_of_tanh", "relu_is_no_parabola", "slope_of_sigmoid", "tails_of_tanh"]


def slope_of_sigmoid(bench: Bench) -> Finding:
    """Measures where the slope of the sigmoid is large."""
    x = torch.linspace(-10, 10, 2001, dtype=torch.float64, device=bench.device)
    slope = slope_at(bench.backend.nn.Sigmoid(), x)
    center, outward = len(x) // 2, slope[len(x) // 2 :].diff()
    numbers = {
        "largest_slope": slope.max().item(),
        "largest_at": round(x[slope.argmax()].item(), 6) + 0.0,
        "at_5": slope[center + 500].item(),
        "at_10": slope[-1].item(),
    }
    fades_toward_tails = bool((outward < 0).all()) and int(slope.argmax()) == center
    return Finding(
        "the sigmoid's gradient fades toward the center of its domain",
        "false" if fades_toward_tails else "true",
        f"the slope is largest at {numbers['largest_at']:g}, where it is {numbers['largest_slope']:.4f}, and "
        f"only decreases from there: {numbers['at_5']:.1e} at ±5, {numbers['at_10']:.1e} at ±10",
        numbers,
        curves(
            "Slopes of activations: largest at 0, vanishing in the tails",
            {
                "sigmoid": (x.tolist(), slope.tolist()),
                "tanh": (x.tolist(), slope_at(bench.backend.nn.Tanh(), x).tolist()),
            },
            x="input",
            y="slope",
        ),
    )


def tails_of_tanh(bench: Bench) -> Finding:
    """Measures the value and slope of tanh at large inputs."""
    tanh = bench.backend.nn.Tanh()
    x = torch.tensor([-100.0, -20.0, -5.0, 5.0, 20.0, 100.0], device=bench.device)
    value, slope = tanh(x), slope_at(tanh, x)
    numbers = {"at_5": value[3].item(), "at_100": value[-1].item(), "at_minus_100": value[0].item()}
    numbers |= {"slope_at_5": slope[3].item(), "slope_at_100": slope[-1].item()}
    wide = torch.linspace(-6, 6, 601, dtype=torch.float64, device=bench.device)
    return Finding(
        "tanh outputs zero for large inputs",
        "true" if abs(numbers["at_100"]) < 0.5 else "false",
        f"tanh(5) = {numbers['at_5']:.5f}, tanh(±100) = ±{numbers['at_100']:g}; the slope tends to zero: "
        f"{numbers['slope_at_5']:.1e} at 5, {numbers['slope_at_100']:g} at 100",
        numbers,
        curves(
            "tanh tends to ±1, its slope to 0",
            {
                "tanh": (wide.tolist(), tanh(wide).tolist()),
                "slope": (wide.tolist(), slope_at(tanh, wide).tolist()),
            },
            x="input",
            y="value",
        ),
    )


def formula_of_tanh(bench: Bench) -> Finding:
    """Compares tanh with two formulas for it."""
    h = torch.linspace(-1.5, 1.5, 301, dtype=torch.float64, device=bench.device)
    tanh = bench.backend.nn.Tanh()(h)
    right = textbook_tanh(h)
    wrong = h.tan() / (1 + h.tan())
    at_one = 250
    numbers = {
        "tanh_of_1": tanh[at_one].item(),
        "claimed_of_1": wrong[at_one].item(),
        "difference_from_claimed": (tanh - wrong).abs().max().item(),
        "difference_from_exponentials": (tanh - right).abs().max().item(),
    }
    seen = (wrong.abs() < 3).tolist()
    return Finding(
        "tanh(h) = tan(h) / (1 + tan(h))",
        "true" if numbers["difference_from_claimed"] < 1e-6 else "false",
        f"at 1 the formula gives {numbers['claimed_of_1']:.4f} and tanh {numbers['tanh_of_1']:.4f}; they are up to "
        f"{numbers['difference_from_claimed']:.3g} apart between ±1.5, (e^h − e^−h) / (e^h + e^−h) and tanh "
        f"{numbers['difference_from_exponentials']:.1e}",
        numbers,
        curves(
            "tanh and the claimed formula",
            {
                "tanh(h)": (h.tolist(), tanh.tolist()),
                "tan(h) / (1 + tan(h))": (
                    h.tolist(),
                    [y if near else float("nan") for y, near in zip(wrong.tolist(), seen, strict=True)],
                ),
            },
            x="h",
            y="value",
        ),
    )


def relu_is_no_parabola(bench: Bench) -> Finding:
    """Fits a parabola and two half-lines to ReLU."""
    x = torch.linspace(-3, 3, 601, dtype=torch.float64, device=bench.device)
    relu = bench.backend.nn.ReLU()
    y = relu(x)
    found = slope_at(relu, x).unique()
    powers = torch.stack((torch.ones_like(x), x, x.square()), 1)
    weights = torch.linalg.lstsq(powers, y[:, None]).solution[:, 0]
    halves = torch.stack((x.clamp(min=0), x.clamp(max=0)), 1)
    two_lines = halves @ torch.linalg.lstsq(halves, y[:, None]).solution[:, 0]
    numbers = {
        "curvature_of_best_parabola": 2 * weights[2].item(),
        "error_of_best_parabola": (y - powers @ weights).abs().max().item(),
        "error_of_two_half_lines": (y - two_lines).abs().max().item(),
        "different_slopes": float(len(found)),
    }
    inverted = numbers["curvature_of_best_parabola"] < 0 and numbers["error_of_best_parabola"] < 1e-6
    return Finding(
        "ReLU looks like an inverted parabola",
        "true" if inverted else "false",
        f"its slope takes {len(found)} values, {' and '.join(f'{slope:g}' for slope in found.tolist())}: two "
        f"half-lines, which fit it to {numbers['error_of_two_half_lines']:.0e}. The best-fitting parabola differs "
        f"by up to {numbers['error_of_best_parabola']:.2f} and opens "
        f"{'downward' if numbers['curvature_of_best_parabola'] < 0 else 'upward'}",
        numbers,
        curves(
            "ReLU and the best-fitting parabola",
            {"ReLU": (x.tolist(), y.tolist()), "parabola": (x.tolist(), (powers @ weights).tolist())},
            x="input",
            y="value",
        ),
    )
