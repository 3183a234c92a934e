"""Losses: every reduction, weights, ignored and out-of-range targets, confident mistakes and empty batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference.catalog.record import BadInput, Make, Record, Sample, rounded_once
from scratchnet.losses.binary import (
    BCELoss,
    BCELossFunction,
    BCEWithLogitsLoss,
    BCEWithLogitsLossFunction,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
)
from scratchnet.losses.cross_entropy import (
    CrossEntropyLoss,
    IndexCrossEntropyFunction,
    NLLLoss,
    NLLLossFunction,
    ProbabilityCrossEntropyFunction,
    cross_entropy,
    nll_loss,
)
from scratchnet.losses.margin import MultiMarginLoss, MultiMarginLossFunction, multi_margin_loss
from scratchnet.losses.regression import L1Loss, L1LossFunction, MSELoss, MSELossFunction, l1_loss, mse_loss

__all__ = ["RECORDS"]

REDUCTIONS = ("none", "mean", "sum")


def errors_of_numbers(make: Make) -> Iterator[Sample]:
    """Samples of a loss between two tensors of numbers."""
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


def probabilities(make: Make) -> Iterator[Sample]:
    """Samples of a loss of probabilities and binary targets."""

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
    """Samples of a loss of logits and binary targets."""

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


def classes(*options: dict[str, float]) -> Callable[[Make], Iterator[Sample]]:
    """Samples of a loss of scores and class indices, each with every set of options."""

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


def with_logits(make: Make) -> Iterator[Sample]:
    """Samples of cross entropy: class indices, distributions, smoothing and extreme logits."""
    yield from classes({}, {"label_smoothing": 0.2})(make)
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


def hinges(make: Make) -> Iterator[Sample]:
    """Samples of the hinge loss."""
    for p in (1, 2):
        for reduction in REDUCTIONS:
            yield Sample((make.normal(3, 4), make.labels(3, classes=4)), {"p": p, "reduction": reduction})
    weight = make.uniform(4, low=0.1, grad=False)
    yield Sample((make.normal(3, 4), make.labels(3, classes=4)), {"weight": weight, "margin": 0.5})
    yield Sample((make.normal(4, 3).detach().T.requires_grad_(), make.labels(3, classes=4)), {"p": 2})
    yield Sample((make.normal(4), make.labels(classes=4)))
    yield Sample((make.normal(4), make.labels(1, classes=4)), {"reduction": "none"})
    yield Sample((make.values(1.0, 0.0, 0.0, 3.0), torch.tensor(0)), smooth=False)


def bad(error: type[Exception], says: str, *inputs: object, **options: object) -> BadInput:
    """A call that must fail."""
    return BadInput(lambda: (inputs, options), error, says)


def bad_numbers() -> list[BadInput]:
    """What losses of numbers refuse."""
    x, long = torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.int64)
    return [
        bad(ValueError, "expected reduction to be one of", x, x, reduction="average"),
        bad(ValueError, "expected weight of the input's shape", x, x, weight=torch.ones(3)),
        bad((NotImplementedError, RuntimeError), "expected floating-point numbers", long, long),  # type: ignore[arg-type]
    ]


def bad_classes() -> list[BadInput]:
    """What losses of classes refuse."""
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


X, Y = torch.zeros(2, 3), torch.tensor([0, 1])

RECORDS = (
    Record(
        "mse_loss",
        mse_loss,
        F.mse_loss,
        errors_of_numbers,
        [MSELossFunction],
        errors=bad_numbers(),
        builtin_lacks=frozenset({"vmap"}),  # of an empty batch
        modules=[(MSELoss, nn.MSELoss)],
    ),
    Record(
        "l1_loss",
        l1_loss,
        F.l1_loss,
        errors_of_numbers,
        [L1LossFunction],
        errors=bad_numbers(),
        modules=[(partial(L1Loss, reduction="sum"), partial(nn.L1Loss, reduction="sum"))],
    ),
    Record(
        "binary_cross_entropy",
        binary_cross_entropy,
        F.binary_cross_entropy,
        probabilities,
        [BCELossFunction],
        double_backward=False,  # the built-in adds 1e-12 to denominators that may be 0.2
        errors=[
            bad(RuntimeError, "expected all elements of input to be between 0 and 1, got 2", X + 2, X),
            bad(RuntimeError, "expected all elements of target to be between 0 and 1, got -1", X, X - 1),
            bad(RuntimeError, "got nan", X * float("nan"), X),
            bad(ValueError, "expected a target of the input's shape", X, X[0]),
            bad(RuntimeError, "of one dtype", X, X.double()),
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
        modules=[
            (
                partial(BCEWithLogitsLoss, pos_weight=torch.ones(3)),
                partial(nn.BCEWithLogitsLoss, pos_weight=torch.ones(3)),
            )
        ],
    ),
    Record(
        "nll_loss",
        nll_loss,
        F.nll_loss,
        classes({}),
        [NLLLossFunction],
        errors=bad_classes(),
        builtin_lacks=frozenset({"vmap"}),  # of uint8 targets
        modules=[(partial(NLLLoss, torch.ones(3)), partial(nn.NLLLoss, torch.ones(3)))],
    ),
    Record(
        "cross_entropy",
        cross_entropy,
        F.cross_entropy,
        with_logits,
        [IndexCrossEntropyFunction, ProbabilityCrossEntropyFunction],
        errors=[
            *bad_classes(),
            bad(RuntimeError, "expected label_smoothing between 0 and 1, got 1.5", X, Y, label_smoothing=1.5),
            bad(RuntimeError, "expected no ignore_index with probabilities", X, X, ignore_index=1),
            bad(RuntimeError, "expected probabilities as a floating-point target", X, X.long()),
        ],
        builtin_lacks=frozenset({"vmap"}),  # of uint8 targets
        modules=[
            (
                partial(CrossEntropyLoss, label_smoothing=0.1),
                partial(nn.CrossEntropyLoss, label_smoothing=0.1),
            )
        ],
    ),
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
)
