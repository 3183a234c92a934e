"""Pixel and channel shuffles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from reference.catalog.record import Make, Record, Sample, bad, leaf, module_pairs
from scratchnet.nn import ChannelShuffle, PixelShuffle, PixelUnshuffle
from scratchnet.resampling.pixel_shuffle import (
    ChannelShuffleFunction,
    PixelShuffleFunction,
    PixelUnshuffleFunction,
    channel_shuffle,
    native_channel_shuffle,
    pixel_shuffle,
    pixel_unshuffle,
)

__all__ = ["RECORDS"]


def shuffled(make: Make, channels: int, height: int, width: int, factors: tuple[int, ...]) -> Iterator[Sample]:
    for factor in factors:
        yield Sample((make.normal(2, channels, height, width), factor))
    factor = factors[0]
    image = make.normal(2, channels, height, width).detach()
    yield Sample((leaf(image.to(memory_format=torch.channels_last)), factor))
    yield Sample((leaf(image.transpose(2, 3).contiguous().transpose(2, 3)), factor))
    yield Sample((leaf(image[:1].expand(2, channels, height, width)), factor))


def channels_shuffled(make: Make) -> Iterator[Sample]:
    yield from shuffled(make, channels=6, height=2, width=2, factors=(3, 2, 1, 6))
    yield Sample((make.normal(0, 6, 2, 2), 3))


def any_leading(samples: Callable[[Make], Iterator[Sample]]) -> Callable[[Make], Iterator[Sample]]:
    """Adds samples with more and fewer leading dimensions."""

    def more(make: Make) -> Iterator[Sample]:
        yield from samples(make)
        image, factor = next(samples(make)).inputs
        yield Sample((leaf(image[0]), factor))
        yield Sample((leaf(image[None]), factor))

    return more


def native_samples(make: Make) -> Iterator[Sample]:
    yield Sample((make.normal(2, 4, 3, 2), 2))
    yield Sample((make.normal(1, 6, 2, 2), 3))


X, IMAGE = torch.zeros(4, 3), torch.zeros(1, 4, 2, 3)

RECORDS = (
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
        modules=module_pairs(PixelShuffle, nn.PixelShuffle, {"upscale_factor": 2}),
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
        modules=module_pairs(PixelUnshuffle, nn.PixelUnshuffle, {"downscale_factor": 2}),
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
        modules=module_pairs(ChannelShuffle, nn.ChannelShuffle, {"groups": 2}),
    ),
    # PyTorch's own native_channel_shuffle has no derivative.
    Record(
        "native_channel_shuffle",
        native_channel_shuffle,
        F.channel_shuffle,
        native_samples,
        [ChannelShuffleFunction],
    ),
)
