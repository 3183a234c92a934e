"""Hard and soft shrinkage."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from reference.catalog.elementwise import HALVES, INTEGERS, NOT_A_TENSOR, elementwise
from reference.catalog.record import Record, bad
from scratchnet.activations.shrink import HardshrinkFunction, SoftshrinkFunction, hardshrink, softshrink
from scratchnet.nn import Hardshrink, Softshrink

__all__ = ["RECORDS"]

RECORDS = (
    Record(
        "hardshrink",
        hardshrink,
        F.hardshrink,
        elementwise({}, {"lambd": 0.0}, {"lambd": -0.5}, kinks=HALVES),
        [HardshrinkFunction],
        errors=[NOT_A_TENSOR, INTEGERS],
        modules=[(Hardshrink, nn.Hardshrink), (partial(Hardshrink, 1), partial(nn.Hardshrink, 1))],
    ),
    Record(
        "softshrink",
        softshrink,
        F.softshrink,
        elementwise({}, {"lambd": 0.0}, {"lambd": 0.25}, kinks=HALVES),
        [SoftshrinkFunction],
        errors=[
            NOT_A_TENSOR,
            INTEGERS,
            bad(RuntimeError, "expected lambd between 0 and", torch.zeros(2), -1.0),
        ],
        modules=[(Softshrink, nn.Softshrink), (partial(Softshrink, 1), partial(nn.Softshrink, 1))],
    ),
)
