"""Regression losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from reference.catalog.record import REDUCTIONS, BadInput, Make, Record, Sample, bad
from scratchnet.losses.huber import HuberLossFunction, huber_loss, smooth_l1_loss
from scratchnet.losses.regression import L1LossFunction, MSELossFunction, l1_loss, mse_loss
from scratchnet.nn import HuberLoss, L1Loss, MSELoss, SmoothL1Loss

__all__ = ["RECORDS"]


def regression_samples(make: Make) -> Iterator[Sample]:
    for reduction in REDUCTIONS:
        yield Sample((make.normal(3, 4), make.normal(3, 4)), {"reduction": reduction})
    yield Sample((make.normal(3, 4), make.normal(3, 4, grad=False)))
    yield Sample((make.normal(4, 3).detach().T.requires_grad_(), make.normal(3, 4)))
    yield Sample((make.normal(1, 4).detach().expand(3, 4).requires_grad_(), make.normal(3, 4)))
    yield Sample((make.normal(), make.normal()))
    yield Sample((make.normal(3, 4), make.normal(4)))
    yield Sample((make.normal(3, 4), make.normal(3, 4), None, None), {"weight": make.uniform(3, 4, grad=False)})
    yield Sample(
        (make.values(1.0, 2.0, float("inf"), float("nan")), make.values(1.0, -2.0, 1.0, 1.0)), smooth=False
    )
    for reduction in REDUCTIONS:
        yield Sample((make.normal(0, 4), make.normal(0, 4)), {"reduction": reduction})


def huber_samples(option: str) -> Callable[[Make], Iterator[Sample]]:
    """Returns a maker of samples for a loss with a quadratic region, whose size is the given option."""

    def samples(make: Make) -> Iterator[Sample]:
        for reduction in REDUCTIONS:
            yield Sample((make.normal(3, 4), make.normal(3, 4)), {"reduction": reduction})
            yield Sample((make.normal(2, 4), make.normal(2, 4)), {"reduction": reduction, option: 0.3})
            yield Sample((make.normal(0, 4), make.normal(0, 4)), {"reduction": reduction})
        yield Sample((make.normal(3, 4), make.normal(3, 4, grad=False)), {option: 2.5})
        yield Sample((make.normal(4, 3).detach().T.requires_grad_(), make.normal(1, 4)))
        yield Sample((make.normal(), make.normal()))
        kinks = (make.values(1.5, -0.5, 1.0, 0.0), make.values(1.0, 0.0, 1.0, 3.0))
        yield Sample(kinks, {option: 0.5, "reduction": "none"}, smooth=False)
        odd = (make.values(float("inf"), 1.0), make.values(1.0, float("-inf")))
        yield Sample(odd, {"reduction": "none"}, smooth=False)

    return samples


def smooth_l1_samples(make: Make) -> Iterator[Sample]:
    yield from huber_samples("beta")(make)
    yield Sample((make.normal(3, 4), make.normal(3, 4)), {"beta": 0.0})


def weighted_huber_samples(make: Make) -> Iterator[Sample]:
    yield from huber_samples("delta")(make)
    for reduction in REDUCTIONS:
        weight = {"weight": make.uniform(3, 4), "reduction": reduction}
        yield Sample((make.normal(3, 4), make.normal(3, 4)), weight)


def regression_errors(for_integers: type[Exception] = NotImplementedError) -> list[BadInput]:
    """Returns calls that must fail; the built-ins raise different errors for integers."""
    x, long = torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.int64)
    return [
        bad(ValueError, "expected reduction to be one of", x, x, reduction="average"),
        bad(ValueError, "expected weight of the input's shape", x, x, weight=torch.ones(3)),
        bad(for_integers, "expected floating-point numbers", long, long),
    ]


X = torch.zeros(2, 3)

RECORDS = (
    Record(
        "mse_loss",
        mse_loss,
        F.mse_loss,
        regression_samples,
        [MSELossFunction],
        errors=regression_errors(),
        builtin_lacks=frozenset({"vmap"}),  # with an empty batch
        modules=[(MSELoss, nn.MSELoss)],
    ),
    Record(
        "l1_loss",
        l1_loss,
        F.l1_loss,
        regression_samples,
        [L1LossFunction],
        errors=regression_errors(RuntimeError),
        modules=[(partial(L1Loss, reduction="sum"), partial(nn.L1Loss, reduction="sum"))],
    ),
    Record(
        "smooth_l1_loss",
        smooth_l1_loss,
        F.smooth_l1_loss,
        smooth_l1_samples,
        [HuberLossFunction],
        errors=[
            bad(RuntimeError, "expected beta of at least 0, got int -1", X, X, beta=-1),
            bad(ValueError, "expected reduction to be one of", X, X, reduction="average"),
            bad(RuntimeError, "", X, torch.zeros(4)),
            bad(NotImplementedError, "expected floating-point numbers", X.long(), X.long()),
        ],
        builtin_lacks=frozenset({"vmap"}),  # with an empty batch
        modules=[(partial(SmoothL1Loss, beta=0.5), partial(nn.SmoothL1Loss, beta=0.5))],
    ),
    Record(
        "huber_loss",
        huber_loss,
        F.huber_loss,
        weighted_huber_samples,
        [HuberLossFunction],
        errors=[
            bad(RuntimeError, "expected a positive delta, got int 0", X, X, delta=0),
            bad(ValueError, "expected reduction to be one of", X, X, reduction="average"),
            bad(ValueError, "expected weight of the input's shape", X, X, weight=torch.ones(3)),
            bad(NotImplementedError, "expected floating-point numbers", X.long(), X.long()),
        ],
        builtin_lacks=frozenset({"vmap"}),  # with an empty batch
        modules=[(partial(HuberLoss, delta=0.5), partial(nn.HuberLoss, delta=0.5))],
    ),
)
