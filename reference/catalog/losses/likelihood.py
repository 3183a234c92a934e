"""Losses of distributions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from reference.catalog.record import REDUCTIONS, Beyond, Make, Record, Sample, bad
from scratchnet.losses.divergence import KLDivLossFunction, LogTargetKLDivLossFunction, kl_div
from scratchnet.losses.likelihood import (
    GaussianNLLLossFunction,
    PoissonNLLLossFunction,
    gaussian_nll_loss,
    poisson_nll_loss,
)
from scratchnet.nn import GaussianNLLLoss, KLDivLoss, PoissonNLLLoss

__all__ = ["RECORDS"]


def distributions(make: Make) -> Iterator[Sample]:
    for reduction in (*REDUCTIONS, "batchmean"):
        yield Sample((make.normal(3, 4), make.uniform(3, 4, low=0.1)), {"reduction": reduction})
        logs = {"reduction": reduction, "log_target": True}
        yield Sample((make.normal(3, 4), make.normal(3, 4)), logs)
        yield Sample((make.normal(0, 4), make.uniform(0, 4)), {"reduction": reduction})
    yield Sample((make.normal(3, 4), make.uniform(3, 4, grad=False)), {"reduction": "batchmean"})
    yield Sample((make.normal(4, 3).detach().T.requires_grad_(), make.uniform(4, low=0.1)))
    yield Sample((make.normal(4), make.normal(3, 1)), {"log_target": True, "reduction": "batchmean"})
    yield Sample((make.normal(), make.uniform(low=0.1)), {"reduction": "batchmean"})
    edges = (make.values(-1.0, -2.0, 0.5, float("-inf")), make.values(0.25, 1.0, 0.5, 0.5))
    yield Sample(edges, {"reduction": "none"}, smooth=False)
    yield Sample((make.normal(3), make.values(-0.5, 0.0, 1.0, grad=False)), {"reduction": "none"}, smooth=False)


def counts(make: Make) -> Iterator[Sample]:
    for reduction in REDUCTIONS:
        yield Sample((make.normal(3, 4), make.uniform(3, 4, high=3.0)), {"reduction": reduction})
        rates = {"log_input": False, "reduction": reduction}
        yield Sample((make.uniform(3, 4, low=0.2), make.uniform(3, 4, high=3.0)), rates)
        yield Sample(
            (make.normal(3, 4), make.uniform(3, 4, low=0.2, high=5.0)),
            {"full": True, **rates} | {"log_input": True},
        )
        yield Sample((make.normal(0, 4), make.normal(0, 4)), {"reduction": reduction})
    yield Sample(
        (make.uniform(3, 4), make.uniform(4, low=1.1, high=5.0)), {"full": True, "log_input": False, "eps": 0.1}
    )
    yield Sample((make.normal(3, 4), make.labels(3, 4, classes=5)))
    yield Sample((make.normal(4, 3).detach().T.requires_grad_(), make.uniform(3, 4, grad=False)))
    yield Sample((make.normal(), make.uniform()))
    zeros = {"full": True, "log_input": False, "reduction": "none"}
    yield Sample((make.values(0.0, 1.0, 0.0), make.values(0.0, 1.0, 2.0, grad=False)), zeros, smooth=False)


def measurements(make: Make) -> Iterator[Sample]:
    for reduction in REDUCTIONS:
        for full in (False, True):
            options = {"reduction": reduction, "full": full}
            yield Sample((make.normal(2, 4), make.normal(2, 4), make.uniform(2, 4, low=1.0, high=2.0)), options)
        empty = (make.normal(0, 4), make.normal(0, 4), make.uniform(0, 4))
        yield Sample(empty, {"reduction": reduction})
    yield Sample((make.normal(3, 4), make.normal(3, 4), make.uniform(3, low=0.5)))
    yield Sample((make.normal(3, 4), make.normal(4), make.uniform(1, 4, low=0.5)), {"reduction": "none"})
    yield Sample((make.normal(3, 4), make.normal(3, 4, grad=False), 2.0))
    yield Sample((make.normal(4, 3).detach().T.requires_grad_(), make.normal(3, 4), make.uniform(3, 1, low=0.5)))
    yield Sample((make.normal(), make.normal(), make.uniform(low=0.5)))


INF = float("inf")
EACH = {"reduction": "none"}
X = torch.zeros(2, 3)

RECORDS = (
    Record(
        "kl_div",
        kl_div,
        F.kl_div,
        distributions,
        [KLDivLossFunction, LogTargetKLDivLossFunction],
        beyond=[
            Beyond(
                "a target of 0: the gradient of t log t",
                lambda make: Sample((make.values(-1.0), make.values(0.0)), EACH),
                [0.0],
                [[0.0], [-INF]],
            ),
            Beyond(
                "a target of 0 at -∞: 0 · ∞ counts as 0",
                lambda make: Sample((make.values(-INF), make.values(0.0, grad=False)), EACH),
                [0.0],
                [[0.0]],
            ),
            Beyond(
                "a target of 0, given as its logarithm",
                lambda make: Sample(
                    (make.values(-1.0, -INF), make.values(-INF, -INF)), EACH | {"log_target": True}
                ),
                [0.0, 0.0],
                [[0.0, 0.0], [0.0, 0.0]],
            ),
        ],
        errors=[
            bad(RuntimeError, "expected floating-point numbers", X, X.long()),
            bad(RuntimeError, "expected shapes that broadcast together", X, torch.zeros(4)),
            bad(ValueError, "expected reduction to be one of", X, X, reduction="average"),
        ],
        modules=[
            (
                partial(KLDivLoss, reduction="batchmean", log_target=True),
                partial(nn.KLDivLoss, reduction="batchmean", log_target=True),
            )
        ],
    ),
    Record(
        "poisson_nll_loss",
        poisson_nll_loss,
        F.poisson_nll_loss,
        counts,
        [PoissonNLLLossFunction],
        beyond=[
            Beyond(
                "a count of 0 at a rate of 0: 0 · log 0 counts as 0",
                lambda make: Sample((make.values(-INF), make.values(0.0, grad=False)), EACH),
                [0.0],
                [[0.0]],
            ),
            Beyond(
                "an infinite rate: the loss is ∞",
                lambda make: Sample((make.values(INF), make.values(1.0, grad=False)), EACH),
                [INF],
                [[INF]],
            ),
            Beyond(
                "a negative rate: an error",
                lambda make: Sample((make.values(-1.0), make.values(1.0, grad=False)), {"log_input": False}),
                says="poisson_nll_loss: expected rates of at least 0, got -1",
            ),
        ],
        errors=[
            bad(RuntimeError, "expected shapes that broadcast together", X, torch.zeros(4)),
            bad(ValueError, "expected reduction to be one of", X, X, reduction="average"),
        ],
        modules=[(partial(PoissonNLLLoss, log_input=False), partial(nn.PoissonNLLLoss, log_input=False))],
    ),
    Record(
        "gaussian_nll_loss",
        gaussian_nll_loss,
        F.gaussian_nll_loss,
        measurements,
        [GaussianNLLLossFunction],
        errors=[
            bad(ValueError, "expected variances of at least 0, got -1", X, X, X - 1),
            bad(ValueError, "expected variances of at least 0, got -2", X, X, -2.0),
            bad(ValueError, "expected var of the input's shape (2, 3)", X, X, torch.ones(3)),
            bad(ValueError, "expected reduction to be one of", X, X, X, reduction="average"),
            bad(RuntimeError, "expected shapes that broadcast together", X, torch.zeros(4), X),
        ],
        builtin_lacks=frozenset({"vmap"}),
        modules=[(partial(GaussianNLLLoss, full=True), partial(nn.GaussianNLLLoss, full=True))],
    ),
)
