"""Accuracy of elementwise ops on both tails: values, first and second derivatives, compared with mpmath."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import mpmath
import pytest
import torch

from reference.catalog import RECORDS
from scratchnet.function import Elementwise
from scratchnet.losses.binary import BCELossFunction, BCEWithLogitsLossFunction
from scratchnet.losses.multilabel import MultiLabelSoftMarginLossFunction
from scratchnet.losses.pointwise import PointwiseLoss

QUANTITIES = ("value", "slope", "differentiable slope", "second derivative")
# Bounds of the regions; in each, our error is at most twice the built-in's largest.
REGIONS = (-10.0, -1.0, -0.1, 0.0, 0.1, 1.0, 10.0)
# Units of the dtype's epsilon that are always allowed, and a limit on what is, unless the curve has its own.
ALWAYS, NEVER = 4, 8

log, exp, expm1, log1p, tanh = mpmath.log, mpmath.exp, mpmath.expm1, mpmath.log1p, mpmath.tanh
SELU_ALPHA, SELU_SCALE = mpmath.mpf(1.6732632423543772), mpmath.mpf(1.0507009873554805)


def sigmoid(x):
    return 1 / (1 + exp(-x))


def softplus(x):
    return log1p(exp(x))


def clip(x, low, high):
    return min(max(x, low), high)


def huber(x, corner):
    return x * x / 2 if abs(x) < corner else corner * (abs(x) - corner / 2)


def elu(x, alpha=1, rate=1):
    return x if x > 0 else alpha * expm1(rate * x)


class Curve(NamedTuple):
    """A record's op as a function of one number x: exact function, constant arguments, options, domain and limits.

    As functions of |x|, ``limit`` is the largest error allowed, in units, and ``allowed_second`` the error of the
    second derivative that is allowed whatever the built-in's is.
    """

    name: str
    truth: Callable[[Any], Any]
    arguments: tuple[float, ...] = ()
    options: dict[str, Any] = {}
    inside: tuple[float, float] = (-math.inf, math.inf)
    limit: Callable[[Any], Any] = lambda size: NEVER + 0 * size
    allowed_second: Callable[[Any], Any] = lambda size: ALWAYS + 0 * size

    def __str__(self) -> str:
        return " ".join([self.name, *map(str, self.arguments), *(f"{k}={v}" for k, v in self.options.items())])


def from_output(size):
    """Sets no limit: the op saves only its output, which near its bound has no digits of the slope."""
    return size + math.inf


EACH = {"reduction": "none"}
CURVES = [
    # Near 0 the output y is near 1/2, and 1 - 2 y in the second derivative cancels to x / 2.
    Curve("sigmoid", sigmoid, limit=from_output, allowed_second=lambda size: ALWAYS + 2.5 / size),
    Curve("tanh", tanh, limit=from_output),
    Curve("logsigmoid", lambda x: -softplus(-x)),
    Curve("softplus", lambda x: softplus(x) if x <= 20 else x),
    Curve("softplus", lambda x: softplus(2 * x) / 2 if x <= 25 else x, (), {"beta": 2.0, "threshold": 50.0}),
    Curve("softplus", lambda x: -2 * softplus(-x / 2) if x >= -40 else x, (), {"beta": -0.5}),
    Curve("softsign", lambda x: x / (1 + abs(x))),
    Curve("tanhshrink", lambda x: x - tanh(x)),
    # The exponent x² / 2 is rounded, and so is x / √2, whose rounding erfc multiplies by as much.
    Curve("gelu", lambda x: x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2, limit=lambda size: NEVER + size**2 / 2),
    Curve(
        "gelu",
        lambda x: x * sigmoid(2 * mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf(0.044715) * x**3)),
        (),
        {"approximate": "tanh"},
        limit=lambda size: NEVER + 0.072 * size**3 + 1.6 * size,  # the exponent is rounded four times
    ),
    # Below -88.8, exp(-x) overflows in float32, and ours and the built-in's are 0 where the exact value is -2e-37.
    # The grid has no point between there and -90.6, below which the error is less than the smallest normal number.
    Curve("silu", lambda x: x * sigmoid(x)),
    Curve("mish", lambda x: x * tanh(softplus(x))),
    Curve("hardtanh", lambda x: clip(x, -1, 1)),
    Curve("relu6", lambda x: clip(x, 0, 6)),
    Curve("hardsigmoid", lambda x: clip(x + 3, 0, 6) / 6),
    Curve("hardswish", lambda x: x * clip(x + 3, 0, 6) / 6),
    Curve("hardshrink", lambda x: x if abs(x) > 0.5 else 0 * x),
    Curve("softshrink", lambda x: x - clip(x, -0.5, 0.5)),
    Curve("leaky_relu", lambda x: max(x, mpmath.mpf(0.2) * x), (), {"negative_slope": 0.2}),
    Curve("rrelu", lambda x: max(x, x / 4), (), {"lower": 0.125, "upper": 0.375}),
    Curve("elu", lambda x: elu(x, 2), (), {"alpha": 2.0}),
    Curve("celu", lambda x: elu(x, 0.5, 2), (), {"alpha": 0.5}),
    Curve(
        "celu",
        lambda x: elu(x, mpmath.mpf(0.3), 1 / mpmath.mpf(0.3)),
        (),
        {"alpha": 0.3},
        limit=lambda size: NEVER + size / 0.3,  # the exponent's rate is rounded
    ),
    Curve("selu", lambda x: SELU_SCALE * elu(x, SELU_ALPHA)),
    Curve("threshold", lambda x: x if x > 0.5 else 2 + 0 * x, (), {"threshold": 0.5, "value": 2.0}),
    *(
        Curve(name, lambda x, t=t: (1 - t) * softplus(x) + t * softplus(-x), (t,), EACH)
        for t in (0.0, 0.25, 1.0)
        for name in ("binary_cross_entropy_with_logits", "multilabel_soft_margin_loss")
    ),
    Curve("binary_cross_entropy_with_logits", lambda x: 3 * softplus(-x), (1.0,), EACH | {"pos_weight": 3.0}),
    *(
        Curve("binary_cross_entropy", lambda x, t=t: -t * log(x) - (1 - t) * log(1 - x), (t,), EACH, (1e-9, 1.0))
        for t in (0.0, 0.25, 1.0)
    ),
    Curve("soft_margin_loss", lambda x: softplus(-x), (1.0,), EACH),
    Curve("soft_margin_loss", softplus, (-1.0,), EACH),
    Curve("kl_div", lambda x: (log(0.25) - x) / 4, (0.25,), EACH),
    Curve("kl_div", lambda x: exp(0.25) * (0.25 - x), (0.25,), EACH | {"log_target": True}),
    Curve("poisson_nll_loss", lambda x: exp(x) - 2 * x, (2.0,), EACH),
    Curve(
        "poisson_nll_loss",
        lambda x: x - 2 * log(x + mpmath.mpf(1e-8)),
        (2.0,),
        EACH | {"log_input": False},
        (0.0, math.inf),
    ),
    Curve("gaussian_nll_loss", lambda x: (log(4) + (x - 0.25) ** 2 / 4) / 2, (0.25, 4.0), EACH),
    Curve("hinge_embedding_loss", lambda x: max(0.5 - x, 0 * x), (-1.0,), EACH | {"margin": 0.5}),
    Curve("margin_ranking_loss", lambda x: max(0.5 - x, 0 * x), (0.0, 1.0), EACH | {"margin": 0.5}),
    Curve("mse_loss", lambda x: (x - 0.25) ** 2, (0.25,), EACH),
    Curve("l1_loss", lambda x: abs(x - 0.25), (0.25,), EACH),
    Curve("huber_loss", lambda x: huber(x - 0.25, 0.5), (0.25,), EACH | {"delta": 0.5}),
    Curve("smooth_l1_loss", lambda x: huber(x - 0.25, 0.5) / 0.5, (0.25,), EACH | {"beta": 0.5}),
]
IN_PLACE = [c._replace(name=f"{c.name}_", limit=from_output) for c in CURVES if f"{c.name}_" in RECORDS]
# Hinges of distances, as accurate as the distances.
NO_CURVE = {"triplet_margin_loss", "triplet_margin_with_distance_loss"}


@cache
def grid(dtype: torch.dtype, count: int) -> torch.Tensor:
    """Returns sizes from 1e-3 to 100 and a few much smaller, with both signs."""
    size = torch.logspace(-3.01, 2, count, dtype=torch.float64)
    size = torch.cat([torch.tensor([1e-44, 1e-38, 1e-30, 1e-20, 1e-10, 1e-6], dtype=torch.float64), size])
    x = torch.cat([-size.flip(0), size]).to(dtype).unique()
    return x[(x != 0) & (x.abs() != 3)]  # bfloat16 rounds to 3, a kink of hardsigmoid


def derivatives(op: Callable[..., Any], curve: Curve, x: torch.Tensor) -> list[torch.Tensor]:
    """Computes the `QUANTITIES` with an op."""
    column = x.unsqueeze(1).requires_grad_()  # for a loss that averages over the last dimension
    options = {k: column.new_tensor(v) if k == "pos_weight" else v for k, v in curve.options.items()}
    y = op(column, *(torch.full_like(column, a) for a in curve.arguments), **options)
    ones = torch.ones_like(y)
    slope = torch.autograd.grad(y, column, ones, retain_graph=True)[0]
    again = torch.autograd.grad(y, column, ones, create_graph=True)[0]
    if again.requires_grad:
        second = torch.autograd.grad(again.sum(), column, allow_unused=True, materialize_grads=True)[0]
    else:
        second = torch.zeros_like(column)
    return [t.detach().flatten() + torch.zeros_like(x) for t in (y, slope, again, second)]


def truths(curve: Curve, x: torch.Tensor) -> list[list[Any]]:
    """Computes the `QUANTITIES` with mpmath, to the precision of the dtype's smallest number."""
    with mpmath.workdps(20 - int(math.log10(torch.finfo(x.dtype).smallest_normal))):
        taylor = [mpmath.taylor(curve.truth, mpmath.mpf(v), 2) for v in x.tolist()]
    value, slope, half = zip(*taylor, strict=True)
    return [list(value), list(slope), list(slope), [2 * h for h in half]]


def units(got: torch.Tensor, truth: list[Any], x: torch.Tensor) -> torch.Tensor:
    """Returns the error of each element relative to the exact value, in units of the dtype's epsilon.

    Near a change of sign, where terms cancel, it is relative to the largest exact value within a factor of 2 of x (with
    1.5, the slope of mish has 4.3 units at -1.27). Errors up to the smallest normal number are forgiven, and so is an
    infinity where the exact value overflows.
    """
    info, points, found = torch.finfo(got.dtype), x.tolist(), []
    for v, g, t in zip(points, got.tolist(), truth, strict=True):
        low, high = sorted((v / 2, v * 2))
        near = truth[bisect_left(points, low) : bisect_right(points, high)]
        beside = map(abs, near if any(other * t <= 0 for other in near) else [])
        if abs(t) > info.max:
            found.append(0.0 if g == math.copysign(math.inf, t) else math.inf)
        elif math.isfinite(g):
            error = max(abs(mpmath.mpf(g) - t) - info.smallest_normal, 0)
            found.append(float(error / max(abs(t), info.smallest_normal, *beside)) / info.eps)
        else:
            found.append(math.inf)
    return torch.tensor(found, dtype=torch.float64)


def check(curve: Curve, dtype: torch.dtype, count: int) -> None:
    record, x = RECORDS[curve.name], grid(dtype, count)
    x = x[(x > curve.inside[0]) & (x < curve.inside[1])]
    ours = derivatives(record.custom, curve, x)
    try:
        theirs = derivatives(record.builtin, curve, x)
    except RuntimeError:  # the built-in lacks the second derivative of hardsigmoid
        theirs = ours
    region = torch.bucketize(x.double(), torch.tensor(REGIONS, dtype=torch.float64))
    for what, got, other, truth in zip(QUANTITIES, ours, theirs, truths(curve, x), strict=True):
        mine, builtin = units(got, truth, x), units(other, truth, x)
        twice = torch.stack([2 * builtin[region == i].max() for i in region])
        size = x.double().abs()
        allowed = torch.minimum(twice, curve.limit(size)).clamp(min=ALWAYS)
        if what == "second derivative":
            allowed = torch.maximum(allowed, curve.allowed_second(size))
        worst = (mine / allowed).argmax()
        assert mine[worst] <= allowed[worst], (
            f"{what} at {x[worst].item():g}: {mine[worst]:.3g} units, allowed {allowed[worst]:.3g}"
        )


@pytest.mark.parametrize("curve", CURVES, ids=str)
def test_errors_in_float32(curve):
    check(curve, torch.float32, 40)


@pytest.mark.slow
@pytest.mark.parametrize("curve", [*CURVES, *IN_PLACE], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_errors_in_every_dtype(curve, dtype):
    check(curve, dtype, 80)


def test_every_elementwise_op_has_a_curve():
    kinds = (
        Elementwise,
        PointwiseLoss,
        BCELossFunction,
        BCEWithLogitsLossFunction,
        MultiLabelSoftMarginLossFunction,
    )
    elementwise = {name for name, r in RECORDS.items() if any(issubclass(f, kinds) for f in r.functions)}
    assert elementwise <= {c.name for c in (*CURVES, *IN_PLACE)} | NO_CURVE
