"""Embeddings, bags of embeddings and one-hot rows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from reference.catalog.record import Make, Record, Sample, bad, leaf, module_pairs
from scratchnet.embedding.embedding import EmbeddingFunction, embedding
from scratchnet.embedding.embedding_bag import EmbeddingBagFunction, EmbeddingMaxFunction, embedding_bag
from scratchnet.embedding.one_hot import one_hot
from scratchnet.nn import Embedding, EmbeddingBag

__all__ = ["RECORDS"]


def embedding_samples(make: Make) -> Iterator[Sample]:
    """Yields lookups; options that change only the gradient are not smooth."""
    indices, table = torch.tensor([[1, 3, 1], [0, 3, 1]]), make.normal(4, 3)
    yield Sample((indices, table))
    yield Sample((indices.int(), table))
    yield Sample((indices.t(), leaf(make.normal(3, 4).t())))
    yield Sample((torch.tensor(2), leaf(make.normal(4, 6)[:, ::2])))
    yield Sample((indices[0], leaf(make.normal(1, 3).expand(4, 3))))
    yield Sample((torch.zeros(2, 0, dtype=torch.int64), table))
    yield Sample((indices, make.normal(4, 0)))
    for padding_idx in (3, -1, 0):
        yield Sample((indices, table), {"padding_idx": padding_idx}, smooth=False)
    yield Sample((indices, table), {"scale_grad_by_freq": True}, smooth=False)
    yield Sample((indices, table), {"scale_grad_by_freq": True, "padding_idx": 1}, smooth=False)


def bag_samples(make: Make) -> Iterator[Sample]:
    table, rows = make.normal(5, 3), torch.tensor([[1, 3, 1], [0, 3, 4]])
    flat, offsets = torch.tensor([1, 3, 1, 0, 2]), torch.tensor([0, 2, 2, 3])
    for mode in ("sum", "mean", "max"):
        yield Sample((rows, table), {"mode": mode})
        yield Sample((flat, table, offsets), {"mode": mode})
        yield Sample((flat, table, torch.tensor([0, 2, 2, 5])), {"mode": mode, "include_last_offset": True})
        yield Sample((flat.int(), leaf(make.normal(3, 5).t()), offsets.int()), {"mode": mode})
        yield Sample((rows[:0], table), {"mode": mode})
        yield Sample((rows, table), {"mode": mode, "padding_idx": 1})
        yield Sample((flat, table, offsets), {"mode": mode, "padding_idx": -5})
    for mode in ("sum", "mean"):
        # For unequal frequencies the built-in uses those of other rows; tests/embedding/test_embedding.py tests ours.
        twice = torch.tensor([[1, 3, 1], [0, 3, 0]])
        yield Sample((twice, table), {"mode": mode, "scale_grad_by_freq": True}, smooth=False)
    weighted = {"mode": "sum", "per_sample_weights": make.normal(2, 3)}
    yield Sample((rows, table), weighted)
    yield Sample((rows, table), weighted | {"padding_idx": 3})
    yield Sample((flat, table, offsets), {"mode": "sum", "per_sample_weights": make.normal(5)})
    yield Sample((flat, table.detach(), offsets), {"mode": "sum", "per_sample_weights": make.normal(5)})
    ties = make.values(1.0, 1.0, 0.0).detach().view(3, 1)
    yield Sample((torch.tensor([[1, 0, 2]]), leaf(ties)), {"mode": "max"}, smooth=False)


def indices(make: Make) -> Iterator[Sample]:
    for shape in ((3,), (2, 2), ()):
        yield Sample((make.labels(*shape, classes=4), 4))
    yield Sample((make.labels(3, classes=4),))
    yield Sample((make.labels(2, 3, classes=4).t(), 5))
    yield Sample((make.labels(0, classes=4), 4))


TABLE, ONE = torch.zeros(4, 3), torch.tensor([1])


RECORDS = (
    Record(
        "embedding",
        embedding,
        F.embedding,
        embedding_samples,
        [EmbeddingFunction],
        double_backward=False,  # the built-in's does not divide by the frequency
        errors=[
            bad(TypeError, "expected input to be a tensor, got list", [1], TABLE),
            bad(TypeError, "expected weight to be a tensor, got None", ONE, None),
            bad(IndexError, "expected indices from 0 to 3", torch.tensor([4]), TABLE),
            bad(IndexError, "expected indices from 0 to 3", torch.tensor([-1]), TABLE),
            bad(RuntimeError, "expected int64 or int32 indices", torch.tensor([1.0]), TABLE),
            bad(RuntimeError, "expected weight of shape (V, D)", ONE, TABLE[0]),
            bad(AssertionError, "expected padding_idx between -4 and 3, got 4", ONE, TABLE, 4),
            bad(AssertionError, "expected padding_idx between -4 and 3, got -5", ONE, TABLE, -5),
        ],
        modules=[
            *module_pairs(
                Embedding,
                nn.Embedding,
                {},
                {"padding_idx": -1, "max_norm": 1.0, "norm_type": 1.0},
                {"scale_grad_by_freq": True, "sparse": True, "dtype": torch.float64},
                sizes=(4, 3),
            ),
            (
                partial(Embedding.from_pretrained, torch.ones(2, 3), padding_idx=0),
                partial(nn.Embedding.from_pretrained, torch.ones(2, 3), padding_idx=0),
            ),
        ],
    ),
    Record(
        "embedding_bag",
        embedding_bag,
        F.embedding_bag,
        bag_samples,
        [EmbeddingBagFunction, EmbeddingMaxFunction],
        errors=[
            bad(ValueError, "expected mode to be", ONE, TABLE, ONE - 1, mode="median"),
            bad(ValueError, "expected weight of shape (V, D)", ONE, TABLE[0], ONE - 1),
            bad(ValueError, "expected offsets of shape (B,)", ONE, TABLE),
            bad(ValueError, "expected offsets of shape (B,)", ONE, TABLE, ONE[None]),
            bad(ValueError, "expected no offsets", ONE[None], TABLE, ONE),
            bad(ValueError, "expected input of shape (N,) or (B, N / B)", ONE[None, None], TABLE),
            bad(ValueError, "expected neither scale_grad_by_freq", ONE[None], TABLE, mode="max", sparse=True),
            bad(ValueError, "of the input's shape", ONE[None], TABLE, per_sample_weights=torch.ones(1)),
            bad(NotImplementedError, "mode='sum'", ONE[None], TABLE, per_sample_weights=torch.ones(1, 1)),
            bad(RuntimeError, "expected indices from 0 to 3", ONE[None] + 3, TABLE),
            bad(RuntimeError, "expected int64 or int32 indices", torch.ones(1, 1), TABLE),
            bad(RuntimeError, "expected offsets from 0 to 1", ONE, TABLE, ONE),
        ],
        builtin_lacks=frozenset({"double backward", "forward mode"}),
        modules=[
            *module_pairs(
                EmbeddingBag,
                nn.EmbeddingBag,
                {},
                {"padding_idx": -1, "max_norm": 1.0, "norm_type": 1.0, "mode": "sum"},
                {"scale_grad_by_freq": True, "include_last_offset": True, "dtype": torch.float64},
                sizes=(4, 3),
            ),
            (
                partial(EmbeddingBag.from_pretrained, torch.ones(2, 3), mode="max"),
                partial(nn.EmbeddingBag.from_pretrained, torch.ones(2, 3), mode="max"),
            ),
        ],
    ),
    Record(
        "one_hot",
        one_hot,
        F.one_hot,
        indices,
        (),
        errors=[
            bad(TypeError, "expected tensor to be a tensor", [1]),
            bad(RuntimeError, "expected int64 indices", torch.tensor([1.0])),
            bad(RuntimeError, "expected indices from 0 to 1", torch.tensor([0, 2]), 2),
            bad(RuntimeError, "expected indices from 0 to 1, got indices from -1", torch.tensor([-1, 1])),
            bad(RuntimeError, "expected num_classes", torch.tensor([], dtype=torch.int64)),
        ],
    ),
)
