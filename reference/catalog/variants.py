"""Ops under a second name, or with dimensions in another order: few samples, since the first name has the others."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from reference.catalog.adaptive_pooling import size
from reference.catalog.record import BadInput, Make, Record, Sample, leaf
from scratchnet.convolution.convolution import ConvolutionFunction, conv_tbc
from scratchnet.pooling import with_indices
from scratchnet.pooling.max_pooling import MaxPoolFunction
from scratchnet.pooling.selection import SelectFunction
from scratchnet.resampling.pixel_shuffle import ChannelShuffleFunction, native_channel_shuffle

__all__ = ["RECORDS"]


def pooled(make: Make, kind: str, dims: int) -> Iterator[Sample]:
    """Indices asked for and not, by name and by place."""
    shape = size(dims) if kind != "fractional_" else (5, 6) if dims == 2 else (4, 5, 5)
    if kind == "fractional_":
        draws = {"_random_samples": make.uniform(2, 2, dims, grad=False)}
        yield Sample((make.distinct(2, 2, *shape), 2, 2), draws)
        yield Sample((make.distinct(2, 2, *shape), 2, 2, None, False), draws)
        return
    yield Sample((make.distinct(2, 2, *shape), 2))
    yield Sample((make.distinct(2, 2, *shape), 2), {"return_indices": False})
    if kind:
        yield Sample((make.distinct(2, 2, *shape), shape))  # each element is a window
    else:
        yield Sample((make.distinct(2, 2, *shape), 2, 1, 1, 1, True, False))


def shuffled(make: Make) -> Iterator[Sample]:
    """Images whose channels have groups."""
    yield Sample((make.normal(2, 4, 3, 2), 2))
    yield Sample((make.normal(1, 6, 2, 2), 3))


def sequences(make: Make) -> Iterator[Sample]:
    """Kernels of several widths, padding, layouts, no batch at all."""
    for width, pad in ((1, 0), (3, 0), (3, 2), (2, 1)):
        yield Sample((make.normal(5, 2, 3), make.normal(width, 3, 4), make.normal(4), pad))
    yield Sample((leaf(make.normal(2, 5, 3).transpose(0, 1)), make.normal(3, 3, 4), make.normal(4)))


def conv_tbc_of_any_layout(x: Tensor, *others: Any) -> Tensor:
    """PyTorch's op, which takes contiguous sequences and upstreams alone."""
    y = F.conv_tbc(x.contiguous(), *others)
    if y.requires_grad:
        y.register_hook(Tensor.contiguous)
    return y


def bad(says: str, *inputs: Any, error: type[Exception] = RuntimeError) -> BadInput:
    """A call that must fail."""
    return BadInput(lambda: (inputs, {}), error, says)


STEPS, KERNELS, BIAS = torch.zeros(5, 2, 3), torch.zeros(2, 3, 4), torch.zeros(4)

RECORDS = (
    *(
        Record(
            name := f"{kind}max_pool{dims}d_with_indices",
            getattr(with_indices, name),
            getattr(F, name),
            partial(pooled, kind=kind, dims=dims),
            [SelectFunction if kind else MaxPoolFunction],
        )
        for kind in ("", "adaptive_", "fractional_")
        for dims in ((2, 3) if kind == "fractional_" else (1, 2, 3))
    ),
    # PyTorch's own native_channel_shuffle has no derivative.
    Record(
        "native_channel_shuffle", native_channel_shuffle, F.channel_shuffle, shuffled, [ChannelShuffleFunction]
    ),
    Record(
        "conv_tbc",
        conv_tbc,
        conv_tbc_of_any_layout,
        sequences,
        [ConvolutionFunction],
        builtin_lacks=frozenset({"forward mode"}),
        errors=[
            bad("expected input (L, B, C)", STEPS[0], KERNELS, BIAS),
            bad("expected input (L, B, C)", STEPS, KERNELS[0], BIAS),
            bad("input channels", STEPS[..., :2], KERNELS, BIAS),
            bad("expected a bias of shape (4,)", STEPS, KERNELS, BIAS[:2]),
            bad("expected pad to be an integer", STEPS, KERNELS, BIAS, "same", error=TypeError),
        ],
    ),
)
