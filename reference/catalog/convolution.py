"""Convolution: every option alone and together, layouts, one image, no image."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from reference.catalog.record import BadInput, Make, Record, Sample
from scratchnet.convolution.convolution import Conv2d, Conv2dFunction, conv2d

__all__ = ["RECORDS"]

OPTIONS: tuple[dict[str, object], ...] = (
    {},
    {"stride": 2},
    {"stride": (2, 1), "padding": (1, 2)},
    {"padding": 1, "dilation": 2},
    {"padding": "same"},
    {"padding": "same", "dilation": (1, 2)},
    {"padding": "valid"},
    {"stride": 3, "padding": 2, "dilation": (2, 1)},
)


def samples(make: Make) -> Iterator[Sample]:
    """Small images under every option."""
    for options in OPTIONS:
        yield Sample((make.normal(2, 2, 5, 4), make.normal(2, 2, 2, 2), make.normal(2)), options)
    yield Sample((make.normal(2, 1, 4, 4), make.normal(2, 1, 3, 2)))
    yield Sample((make.normal(2, 4, 3, 3), make.normal(4, 2, 2, 2), make.normal(4)), {"groups": 2})
    yield Sample((make.normal(1, 3, 3, 3), make.normal(6, 1, 2, 2)), {"groups": 3, "padding": 1})
    yield Sample((make.normal(2, 4, 3), make.normal(3, 2, 2, 2), make.normal(3)))
    yield Sample((make.normal(2, 3, 2, 2), make.normal(4, 3, 1, 1)))
    yield Sample((make.normal(1, 1, 3, 3), make.normal(1, 1, 3, 3)))
    channels_last = make.normal(2, 2, 4, 3).detach().to(memory_format=torch.channels_last).requires_grad_()
    yield Sample((channels_last, make.normal(3, 2, 2, 2), make.normal(3)), {"padding": 1})
    turned = make.normal(4, 3, 2, 2).detach().permute(3, 2, 1, 0).requires_grad_()
    yield Sample((turned, make.normal(2, 2, 2, 2).detach().mT.requires_grad_()))
    yield Sample((make.normal(1, 2, 3, 3).detach().expand(2, 2, 3, 3).requires_grad_(), make.normal(2, 2, 2, 2)))
    yield Sample((make.normal(2, 2, 3, 3, grad=False), make.normal(2, 2, 2, 2), make.normal(2)))
    yield Sample((make.normal(2, 2, 3, 3), make.normal(2, 2, 2, 2, grad=False)))
    yield Sample((make.normal(0, 2, 4, 4), make.normal(3, 2, 2, 2), make.normal(3)))


def bad(says: str, *inputs: object, error: type[Exception] = RuntimeError, **options: object) -> BadInput:
    """A call that must fail."""
    return BadInput(lambda: (inputs, options), error, says)


X, W = torch.zeros(1, 2, 4, 4), torch.zeros(4, 2, 3, 3)
MODULES: tuple[tuple[tuple[object, ...], dict[str, object]], ...] = (
    ((1, 32, 3), {}),
    ((4, 6, (3, 5)), {"stride": 2, "padding": (1, 2), "dilation": 2, "groups": 2, "bias": False}),
    ((2, 2, 3), {"padding": "same", "padding_mode": "reflect"}),
)

RECORDS = (
    Record(
        "conv2d",
        conv2d,
        F.conv2d,
        samples,
        [Conv2dFunction],
        errors=[
            bad("expected 2 input channels", torch.zeros(1, 3, 4, 4), W),
            bad("expected an input of shape", torch.zeros(4, 4), W),
            bad("expected an input of shape", X, torch.zeros(4, 2, 3)),
            bad("expected stride to be", X, W, stride=0),
            bad("expected padding to be", X, W, padding=-1),
            bad("expected dilation to be", X, W, dilation=0),
            bad("expected a stride of 1 with padding='same'", X, W, padding="same", stride=2),
            bad("expected padding to be 'valid'", X, W, padding="full"),
            bad("expected a bias of shape (4,)", X, W, torch.zeros(3)),
            bad("of one dtype", X.double(), W),
            bad("expected an image of at least the kernel's size", X[..., :2], W),
            bad("expected output channels that divide into 3", torch.zeros(1, 6, 4, 4), W, groups=3),
        ],
        modules=[
            (partial(Conv2d, *arguments, **options), partial(nn.Conv2d, *arguments, **options))  # type: ignore[arg-type]
            for arguments, options in MODULES
        ],
    ),
)
