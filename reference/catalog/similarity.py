"""Cosine similarity and distances between vectors."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from reference.catalog.record import Beyond, Make, Record, Sample, bad, leaf, module_pairs, rounded_once
from scratchnet.nn import CosineSimilarity, PairwiseDistance
from scratchnet.similarity.cdist import CDistFunction, cdist
from scratchnet.similarity.cosine_similarity import CosineSimilarityFunction, cosine_similarity
from scratchnet.similarity.distance import PairwiseDistanceFunction, pairwise_distance
from scratchnet.similarity.pdist import PDistFunction, pdist

__all__ = ["RECORDS"]

INFINITY = float("inf")


def cosine_samples(make: Make) -> Iterator[Sample]:
    yield Sample((make.normal(4, 3), make.normal(4, 3)))
    yield Sample((make.normal(4, 3), make.normal(4, 3)), {"dim": 0})
    yield Sample((make.normal(2, 3, 2), make.normal(2, 3, 2)), {"dim": -1, "eps": 0.1})
    yield Sample((make.normal(4, 3), make.normal(3)), {"dim": -1})
    yield Sample((make.normal(4, 1, 3), make.normal(2, 3)), {"dim": 2})
    yield Sample((make.normal(3), make.normal(3)), {"dim": 0})
    yield Sample((leaf(make.normal(3, 4).t()), leaf(make.normal(4, 6)[:, ::2])))
    yield Sample((leaf(make.normal(1, 3).expand(4, 3)), make.normal(4, 3, grad=False)))
    yield Sample((make.normal(0, 3), make.normal(0, 3)))


NORMS = (2.0, 1.0, 3.0, 1.5, INFINITY)


def distance_samples(make: Make) -> Iterator[Sample]:
    for p in NORMS:
        yield Sample((make.normal(4, 3), make.normal(4, 3)), {"p": p, "keepdim": p > 2})
    yield Sample((make.normal(4, 3), make.normal(4, 3)), {"p": 0.0}, smooth=False)
    yield Sample((make.normal(4, 3), make.normal(4, 3)), {"p": -1.0})
    yield Sample((make.normal(4, 3), make.normal(4, 3)), {"p": -INFINITY})
    yield Sample((make.normal(4, 3), make.normal(3)), {"eps": 0.1})
    yield Sample((make.normal(3), make.normal(2, 1, 3)))
    yield Sample((leaf(make.normal(3, 4).t()), leaf(make.normal(4, 6)[:, ::2])))
    yield Sample((leaf(make.normal(1, 3).expand(4, 3)), make.normal(4, 3, grad=False)))
    yield Sample((make.normal(0, 3), make.normal(0, 3)))
    same = make.normal(2, 3).detach()
    for p in (1.0, INFINITY):  # for other norms the built-in's second derivatives are NaN
        yield Sample((leaf(same), leaf(same.clone())), {"p": p, "eps": 0.0}, smooth=False)
    ties = make.values(1.0, -1.0, 0.5).detach()
    yield Sample((leaf(ties), leaf(0 * ties)), {"p": INFINITY, "eps": 0.0}, smooth=False)


def pdist_samples(make: Make) -> Iterator[Sample]:
    for p in NORMS:
        yield Sample((make.normal(4, 3), p))
    yield Sample((make.normal(4, 3),), {"p": 0.0}, smooth=False)
    yield Sample((leaf(make.normal(3, 4).t()),))
    yield Sample((leaf(make.normal(4, 6)[:, ::2]),))
    yield Sample((make.normal(1, 3),))
    for p in (2.0, INFINITY):
        yield Sample((make.normal(4, 0), p))
    for p in (2.0, 1.5, 3.0):
        yield Sample((leaf(make.normal(1, 3).expand(3, 3)), p), smooth=False)


def cdist_samples(make: Make) -> Iterator[Sample]:
    for p in NORMS:
        yield Sample((make.normal(4, 3), make.normal(2, 3), p))
    yield Sample((make.normal(4, 3), make.normal(2, 3)), {"p": 0.0}, smooth=False)
    yield Sample((make.normal(2, 1, 3, 2), make.normal(3, 4, 2)))
    yield Sample((leaf(make.normal(3, 4).t()), leaf(make.normal(4, 6)[:, ::2])))
    yield Sample((make.normal(30, 3), make.normal(28, 3)), {"compute_mode": "donot_use_mm_for_euclid_dist"})
    yield Sample((make.normal(4, 3, grad=False), make.normal(2, 3)))
    yield Sample((make.normal(0, 3), make.normal(2, 3)))
    for p in (2.0, INFINITY):
        yield Sample((make.normal(3, 0), make.normal(2, 0), p))
    same = make.normal(3, 3)
    for p in (2.0, 1.5):
        yield Sample((same, leaf(same.detach()[:2].clone()), p), smooth=False)


X = torch.zeros(4, 3)

RECORDS = (
    Record(
        "cosine_similarity",
        cosine_similarity,
        F.cosine_similarity,
        cosine_samples,
        [CosineSimilarityFunction],
        errors=[
            bad(TypeError, "expected x1 to be a tensor", [1.0], X),
            bad(RuntimeError, "expected vectors that broadcast", X, X[:3]),
            bad(IndexError, "expected dim between -2 and 1, got 2", X, X, dim=2),
            bad(RuntimeError, "expected floating-point vectors", X.long(), X.long()),
        ],
        modules=module_pairs(CosineSimilarity, nn.CosineSimilarity, {}, {"dim": 0, "eps": 0.1}),
    ),
    Record(
        "pairwise_distance",
        pairwise_distance,
        F.pairwise_distance,
        distance_samples,
        [PairwiseDistanceFunction],
        errors=[
            bad(TypeError, "expected x2 to be a tensor", X, [1.0]),
            bad(RuntimeError, "expected vectors that broadcast", X, X[:3]),
        ],
        beyond=[
            Beyond(
                "a norm whose powers underflow",
                lambda make: Sample((make.values(0.5, 0.25), make.values(0.0, 0.0, grad=False), 2000.0, 0.0)),
                0.5,
                [[1.0, 0.0]],
            )
        ],
        modules=module_pairs(PairwiseDistance, nn.PairwiseDistance, {}, {"p": 1.0, "eps": 0.1, "keepdim": True}),
    ),
    Record(
        "pdist",
        pdist,
        rounded_once(F.pdist),
        pdist_samples,
        [PDistFunction],
        builtin_lacks=frozenset({"double backward", "forward mode"}),
        empty=False,
        errors=[
            bad(TypeError, "expected input to be a tensor", [1.0]),
            bad(RuntimeError, "expected an input of shape (N, D)", X[0]),
            bad(RuntimeError, "expected a norm p of at least 0, got -1", X, p=-1.0),
            bad(RuntimeError, "floating point", X.long()),
        ],
    ),
    Record(
        "cdist",
        cdist,
        rounded_once(torch.cdist),
        cdist_samples,
        [CDistFunction],
        builtin_lacks=frozenset({"double backward", "forward mode"}),
        errors=[
            bad(TypeError, "expected x2 to be a tensor", X, [1.0]),
            bad(RuntimeError, "expected x1 of shape", X[0], X),
            bad(RuntimeError, "expected rows of one length", X, X[:, :2]),
            bad(RuntimeError, "expected a norm p of at least 0, got -1", X, X, p=-1.0),
            bad(RuntimeError, "floating point", X.long(), X.long()),
            bad(RuntimeError, "batches that broadcast", X.expand(2, 4, 3), X.expand(3, 4, 3)),
            bad(ValueError, "expected a compute_mode", X, X, compute_mode="fast"),
        ],
    ),
)
