"""Losses of class indices and class probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference.catalog.record import REDUCTIONS, BadInput, Beyond, Make, Record, Sample, bad, leaf
from scratchnet.losses.cross_entropy import (
    IndexCrossEntropyFunction,
    ProbabilityCrossEntropyFunction,
    cross_entropy,
)
from scratchnet.losses.linear_cross_entropy import (
    LinearCrossEntropyFunction,
    ReducedLinearCrossEntropyFunction,
    linear_cross_entropy,
)
from scratchnet.losses.nll import NLLLossFunction, nll_loss
from scratchnet.nn import CrossEntropyLoss, LinearCrossEntropyLoss, NLLLoss

__all__ = ["RECORDS"]


def class_samples(*options: dict[str, float]) -> Callable[[Make], Iterator[Sample]]:
    """Returns a maker of samples of scores and class indices, with each set of options."""

    def samples(make: Make) -> Iterator[Sample]:
        ignoring = torch.tensor([0, -100, 2])
        for option in options:
            for reduction in REDUCTIONS:
                arguments = (make.normal(3, 4), make.labels(3, classes=4))
                yield Sample(arguments, {"reduction": reduction, **option})
                yield Sample((make.normal(3, 4), ignoring), {"reduction": reduction, **option})
            weight = {"weight": make.uniform(4, low=0.1, grad=False), **option}
            yield Sample((make.normal(3, 4), make.labels(3, classes=4)), weight)
            yield Sample((make.normal(3, 4), torch.tensor([1, 1, 3])), weight | {"ignore_index": 1})
            yield Sample((make.normal(2, 3, 2), make.labels(2, 2, classes=3)), option)
            yield Sample(
                (make.normal(2, 2, 2, 3), make.labels(2, 2, 3, classes=2)), option | {"reduction": "none"}
            )
            yield Sample((make.normal(4), make.labels(classes=4)), option)
            yield Sample((make.normal(4), make.labels(classes=4)), option | {"reduction": "none"})
        yield Sample((make.normal(4, 3).detach().T.requires_grad_(), make.labels(3, classes=4)))
        yield Sample((make.normal(1, 4).detach().expand(3, 4).requires_grad_(), make.labels(3, classes=4)))
        yield Sample((make.normal(3, 4), torch.tensor([-100, -100, -100])), smooth=False)
        yield Sample((make.normal(3, 4), torch.tensor([-100, -100, -100])), {"reduction": "sum"})
        yield Sample((make.normal(0, 4), make.labels(0, classes=4)))
        yield Sample((make.normal(0, 4), make.labels(0, classes=4)), {"reduction": "sum"})
        yield Sample((make.normal(2, 3), make.labels(2, classes=3).to(torch.uint8)))

    return samples


def cross_entropy_samples(make: Make) -> Iterator[Sample]:
    yield from class_samples({}, {"label_smoothing": 0.2})(make)
    for option in ({}, {"label_smoothing": 0.3}):
        for reduction in REDUCTIONS:
            yield Sample((make.normal(3, 4), make.uniform(3, 4)), {"reduction": reduction, **option})
        yield Sample((make.normal(3, 4), make.uniform(3, 4)), {"weight": make.uniform(4, grad=False), **option})
    yield Sample((make.normal(2, 3, 2), make.uniform(2, 3, 2)))
    yield Sample((make.normal(4), make.uniform(4)), {"reduction": "none"})
    yield Sample((make.normal(3, 4), make.uniform(3, 4, grad=False)))
    yield Sample((make.normal(0, 4), make.uniform(0, 4)), {"reduction": "sum"})
    extremes = torch.stack([make.values(-1000.0, 0.0, 1000.0), make.values(0.0, 0.0, 0.0)]).detach()
    yield Sample((extremes.requires_grad_(), torch.tensor([0, 1])), smooth=False)


def linear_cross_entropy_samples(make: Make) -> Iterator[Sample]:
    chunks = nn.LinearCrossEntropyOptions(batch_chunk_size=2)

    def given(*outputs: int) -> tuple[Tensor, Tensor]:
        return make.normal(5, 3, scale=0.5), make.normal(4, *outputs, 3)

    labels, ignoring = torch.tensor([0, 3, 1, 1, 2]), torch.tensor([0, -100, 1, 1, -100])
    for reduction in REDUCTIONS:
        options = {"reduction": reduction}
        yield Sample((*given(), labels), options)
        yield Sample((*given(), ignoring), options | {"linear_bias": make.normal(4, scale=0.3), "options": chunks})
        yield Sample(
            (*given(), labels), options | {"weight": make.uniform(4, low=0.1, grad=False), "ignore_index": 1}
        )
        yield Sample((*given(), ignoring), options | {"label_smoothing": 0.2, "options": chunks})
        yield Sample((*given(), make.uniform(5, 4)), options | {"linear_bias": make.normal(4)})
    weight = {"weight": make.uniform(4, low=0.1, grad=False), "label_smoothing": 0.2}
    yield Sample((*given(), labels), weight)
    yield Sample((*given(2), make.labels(5, 2, classes=4)), {"linear_bias": make.normal(4, 2)})
    yield Sample((make.normal(3), make.normal(4, 3), torch.tensor(2)), {"reduction": "none"})
    yield Sample((make.normal(3), make.normal(4, 3), torch.tensor(2)), {"linear_bias": make.normal(4)})
    yield Sample(
        (make.normal(3, 2).detach().T.requires_grad_(), make.normal(4, 3, grad=False), torch.tensor([0, 1]))
    )
    yield Sample(
        (make.normal(2, 3, grad=False), make.normal(3, 4).detach().T.requires_grad_(), torch.tensor([0, 1]))
    )
    yield Sample((*given(), torch.full((5,), -100)), smooth=False)
    yield Sample((make.normal(0, 3), make.normal(4, 3), make.labels(0, classes=4)), {"reduction": "sum"})


def unchunked(*arguments: Any, options: object = None, **others: Any) -> Tensor:
    """Calls the built-in without its chunks, which have neither second derivatives nor forward mode."""
    return F.linear_cross_entropy(*arguments, **others)


def class_errors() -> list[BadInput]:
    x, y = torch.zeros(2, 3), torch.tensor([0, 1])
    return [
        bad(IndexError, "expected class indices from 0 to 2, got 7", x, torch.tensor([0, 7])),
        bad(IndexError, "expected class indices from 0 to 2, got -1", x, torch.tensor([0, -1])),
        bad(ValueError, "expected as many targets as samples", x, torch.tensor([0])),
        bad(RuntimeError, "expected target indices of shape (2,)", x, torch.tensor([[0], [1]])),
        bad(RuntimeError, "expected int64 class indices", x, torch.zeros(2)),
        bad(RuntimeError, "expected int64 class indices", x, y.int()),
        bad(RuntimeError, "expected weight of shape (3,)", x, y, weight=torch.ones(2)),
        bad(RuntimeError, "expected weight in the input's dtype", x, y, weight=torch.ones(3).double()),
        bad(RuntimeError, "requires grad", x.clone().requires_grad_(), y, weight=torch.ones(3).requires_grad_()),
        bad(ValueError, "expected reduction to be one of", x, y, reduction="average"),
        bad(NotImplementedError, "expected input to be floating point", x.long(), y),
    ]


INF = math.inf
X, Y, W = torch.zeros(2, 3), torch.tensor([0, 1]), torch.zeros(4, 3)

RECORDS = (
    Record(
        "nll_loss",
        nll_loss,
        F.nll_loss,
        class_samples({}),
        [NLLLossFunction],
        errors=class_errors(),
        builtin_lacks=frozenset({"vmap"}),  # with uint8 targets
        modules=[(partial(NLLLoss, torch.ones(3)), partial(nn.NLLLoss, torch.ones(3)))],
    ),
    Record(
        "cross_entropy",
        cross_entropy,
        F.cross_entropy,
        cross_entropy_samples,
        [IndexCrossEntropyFunction, ProbabilityCrossEntropyFunction],
        errors=[
            *class_errors(),
            bad(RuntimeError, "expected label_smoothing between 0 and 1, got 1.5", X, Y, label_smoothing=1.5),
            bad(RuntimeError, "expected no ignore_index with probabilities", X, X, ignore_index=1),
            bad(RuntimeError, "expected probabilities as a floating-point target", X, X.long()),
        ],
        builtin_lacks=frozenset({"vmap"}),  # with uint8 targets
        beyond=[
            Beyond(
                "a target probability of 0 at a logit of -∞: 0 · ∞ counts as 0",
                lambda make: Sample((make.values(-INF, 0.0, 0.0), make.values(0.0, 0.5, 0.5, grad=False))),
                math.log(2),
                [[0.0, 0.0, 0.0]],
            ),
            Beyond(
                "an ignored sample whose logits are all -∞: its gradient is 0",
                lambda make: Sample((make.values(-INF, -INF), torch.tensor(-100)), {"reduction": "sum"}),
                0.0,
                [[0.0, 0.0]],
            ),
            Beyond(
                "a class of weight 0 at a logit of -∞: 0 · ∞ counts as 0",
                lambda make: Sample(
                    (make.values(-INF, 0.0), torch.tensor(0), make.values(0.0, 1.0, grad=False)),
                    {"reduction": "sum"},
                ),
                0.0,
                [[0.0, 0.0]],
            ),
            Beyond(
                "a class of weight 0 at a logit of -∞, with smoothed labels or probabilities as targets",
                lambda make: Sample(
                    (make.values(-INF, 0.0), make.values(0.5, 0.5, grad=False), make.values(0.0, 1.0, grad=False)),
                    {"reduction": "sum", "label_smoothing": 0.5},
                ),
                0.0,
                [[0.0, 0.0]],
            ),
        ],
        modules=[
            (
                partial(CrossEntropyLoss, label_smoothing=0.1),
                partial(nn.CrossEntropyLoss, label_smoothing=0.1),
            )
        ],
    ),
    Record(
        "linear_cross_entropy",
        linear_cross_entropy,
        unchunked,
        linear_cross_entropy_samples,
        [LinearCrossEntropyFunction, ReducedLinearCrossEntropyFunction],
        beyond=[
            Beyond(
                "an ignored row of infinities: its gradient is 0",
                lambda make: Sample(
                    (
                        leaf(make.values(1.0, 0.0, -INF, -INF).view(2, 2)),
                        leaf(make.values(1.0, 0.0, 1.0, 0.0).view(2, 2)),
                        torch.tensor([0, -100]),
                    ),
                ),
                math.log(2),
                [[[0.0, 0.0], [0.0, 0.0]], [[-0.5, 0.0], [0.5, 0.0]]],
            )
        ],
        errors=[
            bad(RuntimeError, "expected input of shape (N, D) or (D,)", X[None], W, Y),
            bad(RuntimeError, "expected linear_weight of shape (C, …, 3)", X, W.T, Y),
            bad(RuntimeError, "expected linear_bias of shape (4,)", X, W, Y, linear_bias=X[0]),
            bad(RuntimeError, "expected input of shape (N, D) with linear_weight", X[0], W[None], Y),
            bad(
                RuntimeError,
                "expected no ignore_index with probabilities",
                X,
                W,
                torch.zeros(2, 4),
                ignore_index=1,
            ),
            bad(RuntimeError, "of one dtype", X, W.double(), Y),
            bad(RuntimeError, "expected label_smoothing between 0 and 1", X, W, Y, label_smoothing=1.5),
            bad(RuntimeError, "requires grad", X + W[0], W, Y, weight=torch.ones(4, requires_grad=True)),
            bad(ValueError, "expected as many targets as samples", X, W, Y[:1]),
            bad(IndexError, "expected class indices from 0 to 3, got 6", X, W, Y + 6),
            bad(ValueError, "expected reduction to be one of", X, W, Y, reduction="average"),
        ],
        modules=[
            (partial(LinearCrossEntropyLoss, 3, 4), partial(nn.LinearCrossEntropyLoss, 3, 4)),
            (
                partial(LinearCrossEntropyLoss, 3, 4, out_features=(2,), bias=True, weight=torch.ones(4)),
                partial(nn.LinearCrossEntropyLoss, 3, 4, out_features=(2,), bias=True, weight=torch.ones(4)),
            ),
        ],
    ),
)
