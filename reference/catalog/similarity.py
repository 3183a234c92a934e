"""How alike vectors are, and elements in another order: cosine, distances, shuffles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference.catalog.record import BadInput, Beyond, Make, Record, Sample, rounded_once
from scratchnet.nn import ChannelShuffle, CosineSimilarity, PairwiseDistance, PixelShuffle, PixelUnshuffle
from scratchnet.resampling.pixel_shuffle import (
    ChannelShuffleFunction,
    PixelShuffleFunction,
    PixelUnshuffleFunction,
    channel_shuffle,
    pixel_shuffle,
    pixel_unshuffle,
)
from scratchnet.similarity.cdist import CDistFunction, cdist
from scratchnet.similarity.cosine_similarity import CosineSimilarityFunction, cosine_similarity
from scratchnet.similarity.distance import PairwiseDistanceFunction, pairwise_distance
from scratchnet.similarity.pdist import PDistFunction, pdist

__all__ = ["RECORDS"]

INFINITY = float("inf")


def leaf(x: Tensor) -> Tensor:
    """A view of detached memory as a leaf of its own, strides and all."""
    return x.detach().requires_grad_()


def directions(make: Make) -> Iterator[Sample]:
    """Two vectors along any dimension, broadcast and laid out, and the shortest ones."""
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


def differences(make: Make) -> Iterator[Sample]:
    """Two vectors under each norm, broadcast and laid out; equal ones, and ties of the largest."""
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
    for p in (1.0, INFINITY):  # the second derivatives of the others are NaN in the built-in
        yield Sample((leaf(same), leaf(same.clone())), {"p": p, "eps": 0.0}, smooth=False)
    ties = make.values(1.0, -1.0, 0.5).detach()
    yield Sample((leaf(ties), leaf(0 * ties)), {"p": INFINITY, "eps": 0.0}, smooth=False)


def points(make: Make) -> Iterator[Sample]:
    """Rows under each norm and layout; equal rows, a single one, none."""
    for p in NORMS:
        yield Sample((make.normal(4, 3), p))
    yield Sample((make.normal(4, 3),), {"p": 0.0}, smooth=False)
    yield Sample((leaf(make.normal(3, 4).t()),))
    yield Sample((leaf(make.normal(4, 6)[:, ::2]),))
    yield Sample((make.normal(1, 3),))
    yield Sample((make.normal(4, 0),))
    for p in (2.0, 1.5, 3.0):
        yield Sample((leaf(make.normal(1, 3).expand(3, 3)), p), smooth=False)


def crosses(make: Make) -> Iterator[Sample]:
    """Rows under each norm, batches that broadcast, layouts; equal rows, none, and no features."""
    for p in NORMS:
        yield Sample((make.normal(4, 3), make.normal(2, 3), p))
    yield Sample((make.normal(4, 3), make.normal(2, 3)), {"p": 0.0}, smooth=False)
    yield Sample((make.normal(2, 1, 3, 2), make.normal(3, 4, 2)))
    yield Sample((leaf(make.normal(3, 4).t()), leaf(make.normal(4, 6)[:, ::2])))
    yield Sample((make.normal(30, 3), make.normal(28, 3)), {"compute_mode": "donot_use_mm_for_euclid_dist"})
    yield Sample((make.normal(4, 3, grad=False), make.normal(2, 3)))
    yield Sample((make.normal(0, 3), make.normal(2, 3)))
    yield Sample((make.normal(3, 0), make.normal(2, 0)))
    same = make.normal(3, 3)
    for p in (2.0, 1.5):
        yield Sample((same, leaf(same.detach()[:2].clone()), p), smooth=False)


def shuffled(make: Make, channels: int, height: int, width: int, factors: tuple[int, ...]) -> Iterator[Sample]:
    """Images in every layout."""
    for factor in factors:
        yield Sample((make.normal(2, channels, height, width), factor))
    factor = factors[0]
    image = make.normal(2, channels, height, width).detach()
    yield Sample((leaf(image.to(memory_format=torch.channels_last)), factor))
    yield Sample((leaf(image.transpose(2, 3).contiguous().transpose(2, 3)), factor))
    yield Sample((leaf(image[:1].expand(2, channels, height, width)), factor))


def channels_shuffled(make: Make) -> Iterator[Sample]:
    """Every number of groups, and an empty batch."""
    yield from shuffled(make, channels=6, height=2, width=2, factors=(3, 2, 1, 6))
    yield Sample((make.normal(0, 6, 2, 2), 3))


def any_leading(samples: Callable[[Make], Iterator[Sample]]) -> Callable[[Make], Iterator[Sample]]:
    """The same with more and fewer leading dimensions."""

    def more(make: Make) -> Iterator[Sample]:
        yield from samples(make)
        image, factor = next(samples(make)).inputs
        yield Sample((leaf(image[0]), factor))
        yield Sample((leaf(image[None]), factor))

    return more


def bad(error: type[Exception], says: str, *inputs: Any, **options: Any) -> BadInput:
    """A call that must fail."""
    return BadInput(lambda: (inputs, options), error, says)


def twins(
    custom: type[nn.Module], builtin: type[nn.Module], *arguments: tuple[Any, ...]
) -> list[tuple[Callable[[], nn.Module], Callable[[], nn.Module]]]:
    """Both modules with each set of arguments."""
    return [(partial(custom, *each), partial(builtin, *each)) for each in arguments]


X, IMAGE = torch.zeros(4, 3), torch.zeros(1, 4, 2, 3)

RECORDS = (
    Record(
        "cosine_similarity",
        cosine_similarity,
        F.cosine_similarity,
        directions,
        [CosineSimilarityFunction],
        errors=[
            bad(TypeError, "expected x1 to be a tensor", [1.0], X),
            bad(RuntimeError, "expected vectors that broadcast", X, X[:3]),
            bad(IndexError, "expected dim between -2 and 1, got 2", X, X, dim=2),
            bad(RuntimeError, "expected floating-point vectors", X.long(), X.long()),
        ],
        modules=twins(CosineSimilarity, nn.CosineSimilarity, (), (0, 0.1)),
    ),
    Record(
        "pairwise_distance",
        pairwise_distance,
        F.pairwise_distance,
        differences,
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
        modules=twins(PairwiseDistance, nn.PairwiseDistance, (), (1.0, 0.1, True)),
    ),
    Record(
        "pdist",
        pdist,
        rounded_once(F.pdist),
        points,
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
        crosses,
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
    Record(
        "pixel_shuffle",
        pixel_shuffle,
        F.pixel_shuffle,
        any_leading(partial(shuffled, channels=4, height=2, width=3, factors=(2, 1))),
        [PixelShuffleFunction],
        errors=[
            bad(TypeError, "expected input to be a tensor", [1.0], 2),
            bad(TypeError, "expected upscale_factor to be an integer", IMAGE, 1.5),
            bad(RuntimeError, "expected an input of shape (*, C, H, W)", X, 2),
            bad(RuntimeError, "expected a multiple of 9 = 3² channels", IMAGE, 3),
            bad(RuntimeError, "expected upscale_factor of at least 1, got 0", IMAGE, 0),
        ],
        modules=twins(PixelShuffle, nn.PixelShuffle, (2,)),
    ),
    Record(
        "pixel_unshuffle",
        pixel_unshuffle,
        F.pixel_unshuffle,
        any_leading(partial(shuffled, channels=2, height=4, width=2, factors=(2, 1))),
        [PixelUnshuffleFunction],
        errors=[
            bad(TypeError, "expected input to be a tensor", [1.0], 2),
            bad(RuntimeError, "expected an input of shape (*, C, H, W)", X, 2),
            bad(RuntimeError, "expected height and width to be multiples of 2", IMAGE, 2),
            bad(RuntimeError, "expected downscale_factor of at least 1, got 0", IMAGE, 0),
        ],
        empty=False,  # the built-in's output then has the input's shape, and its backward raises
        modules=twins(PixelUnshuffle, nn.PixelUnshuffle, (2,)),
    ),
    Record(
        "channel_shuffle",
        channel_shuffle,
        F.channel_shuffle,
        channels_shuffled,
        [ChannelShuffleFunction],
        errors=[
            bad(TypeError, "expected input to be a tensor", [1.0], 2),
            bad(RuntimeError, "expected an input of shape (B, C, *)", X, 2),
            bad(RuntimeError, "expected groups that divide 4 channels, got 3", IMAGE, 3),
            bad(RuntimeError, "expected groups that divide 4 channels, got 0", IMAGE, 0),
        ],
        modules=twins(ChannelShuffle, nn.ChannelShuffle, (2,)),
    ),
)
