"""Margin losses of classes and of several labels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from reference.catalog.record import REDUCTIONS, Beyond, Make, Record, Sample, bad, rounded_once
from scratchnet.losses.margin import MultiMarginLossFunction, multi_margin_loss
from scratchnet.losses.multilabel import (
    MultiLabelMarginLossFunction,
    MultiLabelSoftMarginLossFunction,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
)
from scratchnet.nn import MultiLabelMarginLoss, MultiLabelSoftMarginLoss, MultiMarginLoss

__all__ = ["RECORDS"]


def hinges(make: Make) -> Iterator[Sample]:
    for p in (1, 2):
        for reduction in REDUCTIONS:
            yield Sample((make.normal(3, 4), make.labels(3, classes=4)), {"p": p, "reduction": reduction})
    weight = make.uniform(4, low=0.1, grad=False)
    yield Sample((make.normal(3, 4), make.labels(3, classes=4)), {"weight": weight, "margin": 0.5})
    yield Sample((make.normal(4, 3).detach().T.requires_grad_(), make.labels(3, classes=4)), {"p": 2})
    yield Sample((make.normal(4), make.labels(classes=4)))
    yield Sample((make.normal(4), make.labels(1, classes=4)), {"reduction": "none"})
    yield Sample((make.values(1.0, 0.0, 0.0, 3.0), torch.tensor(0)), smooth=False)


def lists(make: Make) -> Iterator[Sample]:
    """Yields lists of labels: none, all, repeated, and labels after the end of the list."""
    labels = torch.tensor([[0, 3, -1, 1], [1, -1, -1, -1], [2, 0, 3, 1], [-1, 2, 0, 1], [1, 1, -1, 0]])
    for reduction in REDUCTIONS:
        yield Sample((make.normal(5, 4), labels), {"reduction": reduction})
        yield Sample((make.normal(4), labels[0]), {"reduction": reduction})
    yield Sample((make.normal(4, 2).detach().T.requires_grad_(), labels[:2]))
    yield Sample((make.normal(2, 4), torch.full((2, 4), -1)), smooth=False)
    yield Sample((make.normal(), torch.tensor(0)), {"reduction": "none"})
    yield Sample(
        (make.normal(0, 4), labels[:0]), {"reduction": "none"}
    )  # with a reduction the built-in's output is uninitialized
    yield Sample((make.values(1.0, 0.0, 0.0, 3.0), torch.tensor([0, -1, 0, 0])), smooth=False)


def independent_labels(make: Make) -> Iterator[Sample]:
    for reduction in REDUCTIONS:
        yield Sample((make.normal(3, 4), make.uniform(3, 4)), {"reduction": reduction})
        weight = {"weight": make.uniform(4), "reduction": reduction}
        yield Sample((make.normal(3, 4), make.uniform(3, 4, grad=False)), weight)
        yield Sample((make.normal(0, 4), make.uniform(0, 4)), {"reduction": reduction})
    yield Sample((make.normal(2, 3, 4), make.uniform(3, 1)), {"weight": make.uniform(2, 1, 1, grad=False)})
    yield Sample((make.normal(4), make.labels(4, classes=2)), {"reduction": "none"})
    yield Sample((make.normal(4, 3).detach().T.requires_grad_(), make.uniform(4)))
    yield Sample((make.values(-1000.0, -50.0, 0.0, 50.0, 1000.0), make.uniform(5)), smooth=False)
    yield Sample((make.normal(3, 0), make.uniform(3, 0)))  # no classes


INF = float("inf")
X, Y = torch.zeros(2, 3), torch.tensor([0, 1])

RECORDS = (
    Record(
        "multi_margin_loss",
        multi_margin_loss,
        rounded_once(F.multi_margin_loss),
        hinges,
        [MultiMarginLossFunction],
        errors=[
            bad(RuntimeError, "expected class indices from 0 to 2", X, torch.tensor([0, 7])),
            bad(RuntimeError, "expected 2 target(s)", X, torch.tensor([0])),
            bad(ValueError, "expected p to be 1 or 2, got int 3", X, Y, p=3),
            bad(RuntimeError, "expected a weight for each of 3 classes", X, Y, weight=torch.ones(2)),
            bad(ValueError, "expected a weight of one dimension", X, Y, weight=torch.ones(3, 3)),
            bad(RuntimeError, "expected an input of shape (N, C) or (C,)", X[None], Y),
            bad(RuntimeError, "expected int64 class indices", X, Y.int()),
        ],
        builtin_lacks=frozenset({"double backward", "forward mode"}),
        modules=[(MultiMarginLoss, nn.MultiMarginLoss)],
    ),
    Record(
        "multilabel_margin_loss",
        multilabel_margin_loss,
        rounded_once(F.multilabel_margin_loss),
        lists,
        [MultiLabelMarginLossFunction],
        errors=[
            bad(RuntimeError, "expected a target of the input's shape (2, 3)", X, torch.tensor([0, 1, -1])),
            bad(RuntimeError, "expected int64 class indices", X, X.int()),
            bad(RuntimeError, "expected class indices from 0 to 2", X, X.long() + 7),
            bad(RuntimeError, "expected class indices from 0 to 2", X, X.long() - 2),
            bad(RuntimeError, "expected an input of shape (N, C) or (C,)", X[None], X[None].long()),
            bad(RuntimeError, "with classes", X[:, :0], X[:, :0].long()),
            bad(NotImplementedError, "floating point", X.long(), X.long()),
        ],
        builtin_lacks=frozenset({"double backward", "forward mode"}),
        modules=[(MultiLabelMarginLoss, nn.MultiLabelMarginLoss)],
    ),
    Record(
        "multilabel_soft_margin_loss",
        multilabel_soft_margin_loss,
        F.multilabel_soft_margin_loss,
        independent_labels,
        [MultiLabelSoftMarginLossFunction],
        beyond=[
            Beyond(
                "correct logits of ±∞: the loss is 0",
                lambda make: Sample((make.values(-INF, INF), make.values(0.0, 1.0, grad=False))),
                0.0,
                [[0.0, 0.0]],
            )
        ],
        errors=[
            bad(RuntimeError, "expected shapes that broadcast together", X, X, weight=torch.ones(2)),
            bad(IndexError, "expected an input of shape (…, C)", X[0, 0], X[0, 0]),
            bad(NotImplementedError, "floating point", X.long(), X),
            bad(ValueError, "expected reduction to be one of", X, X, reduction="average"),
        ],
        modules=[
            (partial(MultiLabelSoftMarginLoss, torch.ones(3)), partial(nn.MultiLabelSoftMarginLoss, torch.ones(3)))
        ],
    ),
)
