"""The hard activations: clipped identities, and piecewise versions of sigmoid and swish."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference.catalog.elementwise import (
    BOOLEANS,
    FINITE,
    INTEGERS,
    NOT_A_TENSOR,
    elementwise,
    few,
    on_a_copy,
)
from reference.catalog.record import Beyond, Record, Sample, bad
from scratchnet.activations.hard import HardsigmoidFunction, HardswishFunction, hardsigmoid, hardswish
from scratchnet.activations.hardtanh import HardtanhFunction, hardtanh, hardtanh_, relu6
from scratchnet.nn import Hardsigmoid, Hardswish, Hardtanh, ReLU6

__all__ = ["RECORDS"]

INF = float("inf")
BENDS = (-4.0, -3.0, -1.5, 0.0, 1.5, 3.0, 6.0, 7.0)


def hardsigmoid_with_exact_slope(input: Tensor) -> Tensor:
    """Composes the built-in in float64, whose own slope is 1/6 rounded to float32."""
    if not isinstance(input, Tensor) or input.dtype is not torch.float64:
        return F.hardsigmoid(input)
    flat = (input.detach() + 3).clamp(0, 6) / 6
    return torch.where((input > -3) & (input < 3), (input + 3) / 6, flat)


RECORDS = (
    Record(
        "hardtanh",
        hardtanh,
        F.hardtanh,
        elementwise({}, {"min_val": -0.5, "max_val": 2.0}, {"min_val": 1.0, "max_val": 1.0}),
        [HardtanhFunction],
        errors=[
            NOT_A_TENSOR,
            BOOLEANS,
            bad(ValueError, "expected min_val of at most max_val", torch.zeros(2), 1.0, -1.0),
            bad(RuntimeError, "expected ends between 0 and 255", torch.zeros(2, dtype=torch.uint8)),
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
        errors=[NOT_A_TENSOR, BOOLEANS],
    ),
    Record(
        "relu6",
        relu6,
        F.relu6,
        elementwise(kinks=BENDS),
        [HardtanhFunction],
        errors=[NOT_A_TENSOR, BOOLEANS],
        modules=[(ReLU6, nn.ReLU6), (partial(ReLU6, True), partial(nn.ReLU6, True))],
    ),
    Record(
        "hardsigmoid",
        hardsigmoid,
        hardsigmoid_with_exact_slope,
        elementwise(kinks=BENDS),
        [HardsigmoidFunction],
        errors=[NOT_A_TENSOR, INTEGERS],
        modules=[(Hardsigmoid, nn.Hardsigmoid), (partial(Hardsigmoid, True), partial(nn.Hardsigmoid, True))],
    ),
    Record(
        "hardswish",
        hardswish,
        F.hardswish,
        elementwise(kinks=BENDS, extremes=FINITE),
        [HardswishFunction],
        beyond=[Beyond("input -∞: the limit", lambda make: Sample((make.values(-INF),)), [0.0], [[0.0]])],
        errors=[NOT_A_TENSOR, INTEGERS],
        modules=[(Hardswish, nn.Hardswish), (partial(Hardswish, True), partial(nn.Hardswish, True))],
    ),
)
