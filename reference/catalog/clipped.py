"""The activations with flat pieces: clipped, hard versions of smooth ones, and shrinkage."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference.catalog.elementwise import FINITE, HALVES, elementwise, few, no_integers, on_a_copy, wrong_type
from reference.catalog.record import BadInput, Beyond, Record, Sample
from scratchnet.activations.hard import HardsigmoidFunction, HardswishFunction, hardsigmoid, hardswish
from scratchnet.activations.hardtanh import HardtanhFunction, hardtanh, hardtanh_, relu6
from scratchnet.activations.shrink import HardshrinkFunction, SoftshrinkFunction, hardshrink, softshrink
from scratchnet.nn import Hardshrink, Hardsigmoid, Hardswish, Hardtanh, ReLU6, Softshrink

__all__ = ["RECORDS"]

INF = float("inf")
BENDS = (-4.0, -3.0, -1.5, 0.0, 1.5, 3.0, 6.0, 7.0)


def hardsigmoid_with_exact_slope(input: Tensor) -> Tensor:
    """The built-in, composed of tensor operations in float64, where its slope is 1/6 rounded to float32."""
    if not isinstance(input, Tensor) or input.dtype is not torch.float64:
        return F.hardsigmoid(input)
    flat = (input.detach() + 3).clamp(0, 6) / 6
    return torch.where((input > -3) & (input < 3), (input + 3) / 6, flat)


NO_BOOLEANS = BadInput(lambda: ((torch.tensor([True]),), {}), RuntimeError, "expected numbers")

RECORDS = (
    Record(
        "hardtanh",
        hardtanh,
        F.hardtanh,
        elementwise({}, {"min_val": -0.5, "max_val": 2.0}, {"min_val": 1.0, "max_val": 1.0}),
        [HardtanhFunction],
        errors=[
            wrong_type(),
            NO_BOOLEANS,
            BadInput(lambda: ((torch.zeros(2), 1.0, -1.0), {}), ValueError, "expected min_val of at most max_val"),
            BadInput(
                lambda: ((torch.zeros(2, dtype=torch.uint8),), {}), RuntimeError, "expected min_val of at least 0"
            ),
        ],
        modules=[
            (Hardtanh, nn.Hardtanh),
            (partial(Hardtanh, -2, 2, True), partial(nn.Hardtanh, -2, 2, True)),
        ],
    ),
    Record(
        "hardtanh_",
        on_a_copy(hardtanh_),
        on_a_copy(F.hardtanh_),
        few({}, {"min_val": -0.5, "max_val": 2.0}),
        [HardtanhFunction],
        errors=[wrong_type(), NO_BOOLEANS],
    ),
    Record(
        "relu6",
        relu6,
        F.relu6,
        elementwise(kinks=BENDS),
        [HardtanhFunction],
        errors=[wrong_type(), NO_BOOLEANS],
        modules=[(ReLU6, nn.ReLU6), (partial(ReLU6, True), partial(nn.ReLU6, True))],
    ),
    Record(
        "hardsigmoid",
        hardsigmoid,
        hardsigmoid_with_exact_slope,
        elementwise(kinks=BENDS),
        [HardsigmoidFunction],
        errors=[wrong_type(), no_integers()],
        modules=[(Hardsigmoid, nn.Hardsigmoid), (partial(Hardsigmoid, True), partial(nn.Hardsigmoid, True))],
    ),
    Record(
        "hardswish",
        hardswish,
        F.hardswish,
        elementwise(kinks=BENDS, extremes=FINITE),
        [HardswishFunction],
        beyond=[Beyond("at -∞: the limit", lambda make: Sample((make.values(-INF),)), [0.0], [[0.0]])],
        errors=[wrong_type(), no_integers()],
        modules=[(Hardswish, nn.Hardswish), (partial(Hardswish, True), partial(nn.Hardswish, True))],
    ),
    Record(
        "hardshrink",
        hardshrink,
        F.hardshrink,
        elementwise({}, {"lambd": 0.0}, {"lambd": -0.5}, kinks=HALVES),
        [HardshrinkFunction],
        errors=[wrong_type(), no_integers()],
        modules=[(Hardshrink, nn.Hardshrink), (partial(Hardshrink, 1), partial(nn.Hardshrink, 1))],
    ),
    Record(
        "softshrink",
        softshrink,
        F.softshrink,
        elementwise({}, {"lambd": 0.0}, {"lambd": 0.25}, kinks=HALVES),
        [SoftshrinkFunction],
        errors=[
            wrong_type(),
            no_integers(),
            BadInput(lambda: ((torch.zeros(2), -1.0), {}), RuntimeError, "expected lambd between 0 and"),
        ],
        modules=[(Softshrink, nn.Softshrink), (partial(Softshrink, 1), partial(nn.Softshrink, 1))],
    ),
)
