"""Losses of pairs and triplets, with labels of -1 and 1."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference.catalog.record import REDUCTIONS, Beyond, Make, Record, Sample, bad
from scratchnet.losses.cosine import CosineEmbeddingLossFunction, cosine_embedding_loss
from scratchnet.losses.signed import (
    HingeEmbeddingLossFunction,
    MarginRankingLossFunction,
    SoftMarginLossFunction,
    hinge_embedding_loss,
    margin_ranking_loss,
    soft_margin_loss,
)
from scratchnet.losses.triplet import (
    SwappedTripletFunction,
    TripletFunction,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from scratchnet.nn import (
    CosineEmbeddingLoss,
    HingeEmbeddingLoss,
    MarginRankingLoss,
    SoftMarginLoss,
    TripletMarginLoss,
    TripletMarginWithDistanceLoss,
)
from scratchnet.similarity.distance import PairwiseDistanceFunction

__all__ = ["RECORDS"]


def signs(make: Make, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
    """Returns labels -1 and 1, in the dtype of the samples by default."""
    return (2 * make.labels(*shape, classes=2) - 1).to(dtype or make.dtype)


def scores(make: Make) -> Iterator[Sample]:
    for reduction in REDUCTIONS:
        yield Sample((make.normal(3, 4), signs(make, 3, 4)), {"reduction": reduction})
        yield Sample((make.normal(0, 4), signs(make, 0, 4)), {"reduction": reduction})
    yield Sample((make.normal(4, 3).detach().T.requires_grad_(), signs(make, 4)))
    yield Sample((make.normal(3, 4), signs(make, 3, 4, dtype=torch.int64)))
    yield Sample((make.normal(), signs(make)))
    yield Sample((make.values(-20.0, 20.0, 0.0, 9.0), signs(make, 4)), {"reduction": "sum"})


def distances(make: Make) -> Iterator[Sample]:
    """Adds margins, kinks, and labels that are neither -1 nor 1."""
    yield from scores(make)
    yield Sample((make.uniform(3, 4), signs(make, 3, 4)), {"margin": 0.5})
    yield Sample((make.normal(4), signs(make, 3, 1)), {"reduction": "none"})
    kinks = (make.values(1.0, 1.0, 0.25, 2.0), torch.tensor([-1, 1, 0, 0]))
    yield Sample(kinks, {"reduction": "none"}, smooth=False)


def rankings(make: Make) -> Iterator[Sample]:
    for reduction in REDUCTIONS:
        given = (make.normal(3, 4), make.normal(3, 4), signs(make, 3, 4))
        yield Sample(given, {"reduction": reduction, "margin": 0.5})
        yield Sample((make.normal(0, 4), make.normal(0, 4), signs(make, 0, 4)), {"reduction": reduction})
    yield Sample((make.normal(3, 4), make.normal(3, 4), make.normal(3, 4)), {"margin": 0.7})
    yield Sample((make.normal(4, 3).detach().T.requires_grad_(), make.normal(1, 4), signs(make, 3, 1)))
    yield Sample((make.normal(3), make.normal(3), signs(make, 3, dtype=torch.int64)), {"margin": -0.5})
    yield Sample((make.normal(), make.normal(), signs(make)))
    ties = (make.values(1.0, 0.5, 0.0), make.values(1.0, 0.0, 0.5), make.values(1.0, 1.0, -1.0, grad=False))
    yield Sample(ties, {"margin": 0.5, "reduction": "none"}, smooth=False)
    yield Sample(ties, {"reduction": "none"}, smooth=False)


def directions(make: Make) -> Iterator[Sample]:
    for reduction in REDUCTIONS:
        yield Sample((make.normal(3, 4), make.normal(3, 4), signs(make, 3)), {"reduction": reduction})
        unlike = (make.normal(3, 4), make.normal(3, 4), -torch.ones(3, dtype=torch.int64))
        yield Sample(unlike, {"reduction": reduction, "margin": -0.6})
        yield Sample((make.normal(0, 4), make.normal(0, 4), signs(make, 0)), {"reduction": reduction})
    yield Sample((make.normal(4), make.normal(4), signs(make)), {"reduction": "none"})
    yield Sample((make.normal(4, 3).detach().T.requires_grad_(), make.normal(1, 4, grad=False), signs(make, 3)))
    yield Sample((make.normal(1, 4), make.normal(3, 4), signs(make, 1)), {"reduction": "none"})
    zero = (torch.stack([make.normal(3).detach(), torch.zeros(3, dtype=make.dtype)]), make.normal(2, 3))
    yield Sample((zero[0].requires_grad_(), zero[1], torch.tensor([1, 0])), {"reduction": "sum"}, smooth=False)


def triplets(make: Make) -> Iterator[Sample]:

    def three(*shape: int) -> tuple[Tensor, Tensor, Tensor]:
        return make.normal(*shape), make.normal(*shape), make.normal(*shape)

    for reduction in REDUCTIONS:
        yield Sample(three(3, 4), {"reduction": reduction, "margin": 2.0})
        yield Sample(three(3, 4), {"reduction": reduction, "margin": 2.0, "swap": True})
        yield Sample(three(0, 4), {"reduction": reduction})
    yield Sample((make.normal(3, 1, 4), make.normal(1, 2, 4), make.normal(3, 2, 4, grad=False)))
    yield Sample(three(4), {"margin": 3.0, "reduction": "none"})
    yield Sample((make.normal(4, 3).detach().T.requires_grad_(), make.normal(3, 4), make.normal(3, 4)))
    same = make.normal(3, 4)
    yield Sample((same, same.detach().clone(), same.detach().clone()), {"swap": True}, smooth=False)


def normed_triplets(make: Make) -> Iterator[Sample]:
    yield from triplets(make)
    for p in (1.0, 1.5, 3.0, float("inf")):
        given = (make.distinct(3, 4), make.normal(3, 4), make.normal(3, 4))
        yield Sample(given, {"p": p, "margin": 3.0, "eps": 1e-3})
    yield Sample((make.normal(3, 4), make.normal(3, 4), make.normal(3, 4)), {"p": 0, "margin": 3.0}, smooth=False)


def taxicab(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().sum(-1)


def measured_triplets(make: Make) -> Iterator[Sample]:
    yield from triplets(make)
    given = (make.normal(3, 4), make.normal(3, 4), make.normal(3, 4))
    yield Sample(given, {"distance_function": taxicab, "margin": 3.0, "swap": True})


X = torch.zeros(2, 3)
Y = torch.ones(2)

RECORDS = (
    Record(
        "soft_margin_loss",
        soft_margin_loss,
        F.soft_margin_loss,
        scores,
        [SoftMarginLossFunction],
        beyond=[
            Beyond(
                "a confident wrong score whose exponential overflows",
                lambda make: Sample((make.values(-1000.0), make.values(1.0, grad=False))),
                1000.0,
                [[-1.0]],
            )
        ],
        errors=[
            bad(RuntimeError, "expected shapes that broadcast together", X, torch.ones(4)),
            bad(RuntimeError, "requires grad", X, torch.ones(2, 3, requires_grad=True)),
            bad(ValueError, "expected reduction to be one of", X, X, reduction="average"),
        ],
        modules=[(partial(SoftMarginLoss, reduction="sum"), partial(nn.SoftMarginLoss, reduction="sum"))],
    ),
    Record(
        "hinge_embedding_loss",
        hinge_embedding_loss,
        F.hinge_embedding_loss,
        distances,
        [HingeEmbeddingLossFunction],
        errors=[
            bad(RuntimeError, "expected shapes that broadcast together", X, torch.ones(4)),
            bad(ValueError, "expected reduction to be one of", X, X, reduction="average"),
        ],
        modules=[(partial(HingeEmbeddingLoss, 2.0), partial(nn.HingeEmbeddingLoss, 2.0))],
    ),
    Record(
        "margin_ranking_loss",
        margin_ranking_loss,
        F.margin_ranking_loss,
        rankings,
        [MarginRankingLossFunction],
        errors=[
            bad(RuntimeError, "expected inputs and target with the same number of dimensions", X, X, Y),
            bad(RuntimeError, "expected shapes that broadcast together", X, X, torch.ones(2, 4)),
            bad(ValueError, "expected reduction to be one of", X, X, X, reduction="average"),
        ],
        modules=[(partial(MarginRankingLoss, 0.5), partial(nn.MarginRankingLoss, 0.5))],
    ),
    Record(
        "cosine_embedding_loss",
        cosine_embedding_loss,
        F.cosine_embedding_loss,
        directions,
        [CosineEmbeddingLossFunction],
        errors=[
            bad(RuntimeError, "expected inputs of shape (N, D) with a target of shape (N,)", X, X, Y[0]),
            bad(RuntimeError, "expected inputs of shape (N, D) with a target of shape (N,)", X[0], X[0], Y),
            bad(RuntimeError, "expected inputs of shape (N, D) with a target of shape (N,)", X, X, X),
            bad(RuntimeError, "expected as many pairs as labels", X, X, torch.ones(3)),
            bad(ValueError, "expected reduction to be one of", X, X, Y, reduction="average"),
        ],
        modules=[(partial(CosineEmbeddingLoss, 0.5), partial(nn.CosineEmbeddingLoss, 0.5))],
    ),
    Record(
        "triplet_margin_loss",
        triplet_margin_loss,
        F.triplet_margin_loss,
        normed_triplets,
        [TripletFunction, SwappedTripletFunction, PairwiseDistanceFunction],
        errors=[
            bad(ValueError, "expected margin to be more than 0, got int 0", X, X, X, margin=0),
            bad(RuntimeError, "with the same number of dimensions", X, X, X[0]),
            bad(RuntimeError, "", X, X, torch.zeros(2, 4)),
            bad(ValueError, "expected reduction to be one of", X, X, X, reduction="average"),
        ],
        modules=[(partial(TripletMarginLoss, 2.0, swap=True), partial(nn.TripletMarginLoss, 2.0, swap=True))],
    ),
    Record(
        "triplet_margin_with_distance_loss",
        triplet_margin_with_distance_loss,
        F.triplet_margin_with_distance_loss,
        measured_triplets,
        [TripletFunction, SwappedTripletFunction, PairwiseDistanceFunction],
        errors=[
            bad(ValueError, "expected margin to be more than 0, got int -1", X, X, X, margin=-1),
            bad(RuntimeError, "with the same number of dimensions", X, X, X[0]),
            bad(ValueError, "expected reduction to be one of", X, X, X, reduction="average"),
        ],
        modules=[
            (TripletMarginWithDistanceLoss, nn.TripletMarginWithDistanceLoss),
            (
                partial(TripletMarginWithDistanceLoss, distance_function=taxicab, swap=True),
                partial(nn.TripletMarginWithDistanceLoss, distance_function=taxicab, swap=True),
            ),
        ],
    ),
)
