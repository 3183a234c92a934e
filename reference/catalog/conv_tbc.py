"""Convolution of sequences in the layout (time, batch, channels)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from reference.catalog.record import Make, Record, Sample, bad, leaf
from scratchnet.convolution.convolution import ConvolutionFunction, conv_tbc

__all__ = ["RECORDS"]


def sequences(make: Make) -> Iterator[Sample]:
    for width, pad in ((1, 0), (3, 0), (3, 2), (2, 1)):
        yield Sample((make.normal(5, 2, 3), make.normal(width, 3, 4), make.normal(4), pad))
    yield Sample((leaf(make.normal(2, 5, 3).transpose(0, 1)), make.normal(3, 3, 4), make.normal(4)))


def conv_tbc_of_any_layout(x: Tensor, *others: Any) -> Tensor:
    """Calls PyTorch's op, which needs contiguous sequences and upstreams."""
    y = F.conv_tbc(x.contiguous(), *others)
    if y.requires_grad:
        y.register_hook(Tensor.contiguous)
    return y


STEPS, KERNELS, BIAS = torch.zeros(5, 2, 3), torch.zeros(2, 3, 4), torch.zeros(4)

RECORDS = (
    Record(
        "conv_tbc",
        conv_tbc,
        conv_tbc_of_any_layout,
        sequences,
        [ConvolutionFunction],
        builtin_lacks=frozenset({"forward mode"}),
        errors=[
            bad(RuntimeError, "expected input (L, B, C)", STEPS[0], KERNELS, BIAS),
            bad(RuntimeError, "expected input (L, B, C)", STEPS, KERNELS[0], BIAS),
            bad(RuntimeError, "input channels", STEPS[..., :2], KERNELS, BIAS),
            bad(RuntimeError, "expected a bias of shape (4,)", STEPS, KERNELS, BIAS[:2]),
            bad(TypeError, "expected pad to be an integer", STEPS, KERNELS, BIAS, "same"),
        ],
    ),
)
