"""The CTC loss."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference.catalog.record import REDUCTIONS, Make, Record, Sample, bad, rounded_once
from scratchnet.activations.softmax import log_softmax
from scratchnet.losses.ctc import CTCLossFunction, ctc_loss
from scratchnet.nn import CTCLoss

__all__ = ["RECORDS"]


def ctc_of_logits(logits: Tensor, *arguments: Any, **options: Any) -> Tensor:
    """Applies log-softmax first: the gradient of the loss is only correct for log-probabilities."""
    return ctc_loss(log_softmax(logits, dim=-1), *arguments, **options)


def builtin_ctc_of_logits(logits: Tensor, *arguments: Any, **options: Any) -> Tensor:
    return rounded_once(F.ctc_loss)(F.log_softmax(logits, dim=-1), *arguments, **options)


def transcripts(make: Make) -> Iterator[Sample]:
    padded = torch.tensor([[1, 2, 2], [3, 1, 0]])
    joined = torch.tensor([1, 2, 2, 3, 1])
    frames, labels = torch.tensor([5, 4]), torch.tensor([3, 2])
    for reduction in REDUCTIONS:
        options = {"reduction": reduction}
        yield Sample((make.normal(5, 2, 4), padded, frames, labels), options)
        # Equal labels need a blank between them: three frames are too few, so the loss is infinite.
        short = (make.normal(5, 2, 4), padded, torch.tensor([3, 5]), labels)
        yield Sample(short, options | {"zero_infinity": True})
    yield Sample((make.normal(5, 2, 4), joined, frames, labels))
    yield Sample((make.normal(5, 2, 4), joined, (5, 4), (3, 2)), {"reduction": "sum"})
    yield Sample((make.normal(5, 2, 4), padded - 1, frames, torch.tensor([3, 2])), {"blank": 3})
    yield Sample((make.normal(5, 2, 4), padded, [5, 0], [1, 0]), {"reduction": "sum"})
    yield Sample(
        (make.normal(2, 4, 4).detach().transpose(0, 1).requires_grad_(), padded.int(), frames - 1, labels - 1)
    )
    yield Sample(
        (make.normal(4, 4), torch.tensor([1, 2]), torch.tensor(4), torch.tensor(2)), {"reduction": "none"}
    )
    yield Sample((make.normal(4, 4), torch.tensor([1, 2]), (4,), (2,)), {"reduction": "sum"})
    yield Sample(
        (make.normal(3, 1, 4), torch.tensor([[1, 1, 2]]), (3,), (3,)), {"reduction": "none"}, smooth=False
    )


X = torch.zeros(5, 2, 4)
Y = torch.ones(2, 2, dtype=torch.int64)

RECORDS = (
    Record(
        "ctc_loss",
        ctc_of_logits,
        builtin_ctc_of_logits,
        transcripts,
        [CTCLossFunction],
        errors=[
            bad(RuntimeError, "expected target_lengths from 0 to 2, got 9 for sample 1", X, Y, (5, 5), (2, 9)),
            bad(RuntimeError, "expected target_lengths from 0 to 2, got -1 for sample 1", X, Y, (5, 5), (2, -1)),
            bad(RuntimeError, "expected input_lengths from 0 to 5, got 9 for sample 1", X, Y, (5, 9), (2, 2)),
            bad(RuntimeError, "expected input_lengths of shape (2,)", X, Y, (5,), (2, 2)),
            bad(RuntimeError, "expected target_lengths of shape (2,)", X, Y, (5, 5), (2,)),
            bad(RuntimeError, "expected blank from 0 to 3, got 7", X, Y, (5, 5), (2, 2), blank=7),
            bad(RuntimeError, "expected targets of shape (2, S)", X, Y[:1], (5, 5), (2, 2)),
            bad(RuntimeError, "expected as many targets as target_lengths say, 4", X, Y[0], (5, 5), (2, 2)),
            bad(RuntimeError, "not empty", X[:, :0], Y[:0], (), ()),
            bad(ValueError, "expected reduction to be one of", X, Y, (5, 5), (2, 2), reduction="average"),
        ],
        builtin_lacks=frozenset({"double backward", "forward mode"}),
        modules=[(partial(CTCLoss, blank=1), partial(nn.CTCLoss, blank=1))],
    ),
)
