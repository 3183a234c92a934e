"""Binary cross entropies."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference.catalog.record import REDUCTIONS, Beyond, Make, Record, Sample, bad
from scratchnet.losses.binary import (
    BCELossFunction,
    BCEWithLogitsLossFunction,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
)
from scratchnet.nn import BCELoss, BCEWithLogitsLoss

__all__ = ["RECORDS"]


def probabilities(make: Make) -> Iterator[Sample]:

    def inner(*shape: int, grad: bool = True) -> Tensor:
        return make.uniform(*shape, low=0.3, high=0.7, grad=grad)

    for reduction in REDUCTIONS:
        yield Sample((inner(3, 4), inner(3, 4)), {"reduction": reduction})
    yield Sample((inner(3, 4), inner(3, 4, grad=False)))
    yield Sample((inner(4, 3).detach().T.requires_grad_(), inner(3, 4), inner(4, grad=False)))
    yield Sample((inner(3, 4), inner(3, 4), inner(3, 4, grad=False)), {"reduction": "sum"})
    yield Sample((inner(), inner()))
    yield Sample((make.values(0.0, 1.0, 0.0, 1.0, 0.5), make.values(0.0, 1.0, 1.0, 0.0, 0.5)), smooth=False)
    yield Sample((inner(0, 4), inner(0, 4)))
    yield Sample((inner(0, 4), inner(0, 4)), {"reduction": "sum"})


def logits(make: Make) -> Iterator[Sample]:

    def labels(*shape: int) -> Tensor:
        return make.uniform(*shape)

    for reduction in REDUCTIONS:
        yield Sample((make.normal(3, 4), labels(3, 4)), {"reduction": reduction})
    yield Sample((make.normal(3, 4), make.uniform(3, 4, grad=False)))
    yield Sample((make.normal(4, 3).detach().T.requires_grad_(), labels(3, 4), make.uniform(4, grad=False)))
    weights = {"pos_weight": make.uniform(4, high=3.0, grad=False)}
    yield Sample((make.normal(3, 4), labels(3, 4)), weights)
    yield Sample((make.normal(3, 4), labels(3, 4), make.uniform(3, 4, grad=False)), weights | {"reduction": "sum"})
    yield Sample((make.normal(), labels()))
    extremes = make.values(-1000.0, -50.0, 0.0, 50.0, 1000.0)
    yield Sample((extremes, make.values(0.0, 1.0, 0.5, 0.0, 1.0)), smooth=False)
    yield Sample((make.normal(0, 4), labels(0, 4)))


INF = math.inf
SEPARATE = {"reduction": "none"}
X = torch.zeros(2, 3)

RECORDS = (
    Record(
        "binary_cross_entropy",
        binary_cross_entropy,
        F.binary_cross_entropy,
        probabilities,
        [BCELossFunction],
        double_backward=False,  # the built-in adds 1e-12 to denominators, which may be as small as 0.2
        errors=[
            bad(RuntimeError, "expected all elements of input to be between 0 and 1, got 2", X + 2, X),
            bad(RuntimeError, "expected all elements of target to be between 0 and 1, got -1", X, X - 1),
            bad(RuntimeError, "got nan", X * float("nan"), X),
            bad(ValueError, "expected a target of the input's shape", X, X[0]),
            bad(RuntimeError, "of one dtype", X, X.double()),
            bad(RuntimeError, "expected weight of real numbers", X, X, 1j * X),
        ],
        modules=[(BCELoss, nn.BCELoss)],
    ),
    Record(
        "binary_cross_entropy_with_logits",
        binary_cross_entropy_with_logits,
        F.binary_cross_entropy_with_logits,
        logits,
        [BCEWithLogitsLossFunction],
        errors=[
            bad(ValueError, "expected a target of the input's shape", X, X[0]),
            bad(RuntimeError, "expected a floating-point target", X, X.long()),
            bad(RuntimeError, "", X, X, pos_weight=torch.ones(2)),
            bad(NotImplementedError, "floating point", X.long(), X),
        ],
        beyond=[
            Beyond(
                "correct logits of ±∞: the loss is 0",
                lambda make: Sample((make.values(-INF, INF), make.values(0.0, 1.0, grad=False)), SEPARATE),
                [0.0, 0.0],
                [[0.0, 0.0]],
            ),
            Beyond(
                "wrong logits of ±∞: the loss is ∞, its gradient ±1",
                lambda make: Sample((make.values(-INF, INF), make.values(1.0, 0.0, grad=False)), SEPARATE),
                [INF, INF],
                [[-1.0, 1.0]],
            ),
            Beyond(
                "a weight of 0 for an infinite loss: 0 · ∞ counts as 0",
                lambda make: Sample(
                    (make.values(INF), make.values(0.0), make.values(0.0, grad=False)), {"reduction": "none"}
                ),
                [0.0],
                [[0.0], [0.0]],
            ),
        ],
        modules=[
            (
                partial(BCEWithLogitsLoss, pos_weight=torch.ones(3)),
                partial(nn.BCEWithLogitsLoss, pos_weight=torch.ones(3)),
            )
        ],
    ),
)
