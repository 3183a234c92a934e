"""Convolution and transposed convolution in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import scratchnet.nn
from reference.catalog.record import BadInput, Make, Record, Sample, bad, module_pairs
from scratchnet import functional as ours
from scratchnet.convolution.convolution import ConvolutionFunction
from scratchnet.convolution.transposed import TransposedConvolutionFunction

__all__ = ["RECORDS"]

Options = tuple[dict[str, Any], ...]

CONVOLUTION_OPTIONS: dict[int, Options] = {
    1: (
        {},
        {"stride": 2, "padding": 1},
        {"stride": [2], "padding": (2,), "dilation": 2},
        {"padding": "same"},
        {"padding": "valid", "stride": 3},
    ),
    2: (
        {},
        {"stride": 2},
        {"stride": (2, 1), "padding": (1, 2)},
        {"padding": 1, "dilation": 2},
        {"padding": "same"},
        {"padding": "same", "dilation": (1, 2)},
        {"padding": "valid"},
        {"stride": 3, "padding": 2, "dilation": (2, 1)},
    ),
    3: (
        {},
        {"stride": (2, 1, 2), "padding": (1, 0, 1)},
        {"padding": "same", "dilation": (1, 2, 1)},
    ),
}
TRANSPOSED_OPTIONS: dict[int, Options] = {
    1: (
        {},
        {"stride": 2},
        {"stride": [3], "padding": (1,), "output_padding": 2},
        {"dilation": 3, "output_padding": 2, "padding": 2},
        {"stride": 2, "dilation": 4, "output_padding": 3},
    ),
    2: (
        {},
        {"stride": 2, "padding": 1},
        {"stride": (2, 3), "output_padding": (1, 2)},
        {"padding": (0, 1), "dilation": (1, 2)},
        {"stride": 2, "dilation": 3, "output_padding": 2, "padding": 1},
    ),
    3: (
        {},
        {"stride": (1, 2, 1), "padding": (1, 0, 1), "output_padding": (0, 1, 0)},
    ),
}
IMAGE = {1: (5,), 2: (5, 4), 3: (3, 2, 3)}
SMALL = {1: (4,), 2: (3, 2), 3: (2, 3, 2)}


def samples(make: Make, dims: int, transposed: bool) -> Iterator[Sample]:
    """Yields small images under every option; a transposed convolution has weights (in, out, ...)."""

    def kernels(channels: int, out: int, *size: int, groups: int = 1) -> Tensor:
        first, second = (channels, out) if transposed else (out, channels)
        return make.normal(first, second // groups, *size)

    image, small, window = IMAGE[dims], SMALL[dims], (2,) * dims
    yield Sample((make.normal(1, *small), kernels(1, 2, *window), make.normal(2)))
    yield Sample((make.normal(2, 2, *small), kernels(2, 2, *window, groups=2)), {"groups": 2, "padding": 1})
    yield Sample((make.normal(1, 2, *small), kernels(2, 2, *window), make.normal(2)))
    for options in (TRANSPOSED_OPTIONS if transposed else CONVOLUTION_OPTIONS)[dims]:
        yield Sample((make.normal(1, 2, *image), kernels(2, 3, *window), make.normal(3)), options)
    yield Sample((make.normal(2, 4, *small), kernels(4, 6, *window, groups=2), make.normal(6)), {"groups": 2})
    yield Sample((make.normal(0, 2, *image), kernels(2, 3, *window), make.normal(3)))
    if dims > 1:
        layout = torch.channels_last if dims == 2 else torch.channels_last_3d
        last = make.normal(2, 2, *image).detach().to(memory_format=layout).requires_grad_()
        yield Sample((last, kernels(2, 3, *window), make.normal(3)), {"padding": 1})
    if dims != 2:
        return
    yield Sample((make.normal(2, 1, 4, 4), kernels(1, 2, 3, 2)))
    yield Sample((make.normal(2, 3, 2, 2), kernels(3, 4, 1, 1)))
    yield Sample((make.normal(1, 1, 3, 3), kernels(1, 1, 3, 3)))
    turned = make.normal(4, 3, 2, 2).detach().permute(3, 2, 1, 0).requires_grad_()
    yield Sample((turned, kernels(2, 2, 2, 2).detach().mT.requires_grad_()))
    yield Sample((make.normal(1, 2, 3, 3).detach().expand(2, 2, 3, 3).requires_grad_(), kernels(2, 2, 2, 2)))
    yield Sample((make.normal(2, 2, 3, 3, grad=False), kernels(2, 2, 2, 2), make.normal(2)))
    yield Sample((make.normal(2, 2, 3, 3), kernels(2, 2, 2, 2).detach()))


def errors(dims: int, transposed: bool) -> Iterator[BadInput]:
    x, w = torch.zeros(1, 2, *(4,) * dims), torch.zeros(2, 2, *(3,) * dims)
    yield bad(TypeError, "expected input to be a tensor", [1.0], w)
    yield bad(RuntimeError, "expected 2 input channels", torch.zeros(1, 3, *(4,) * dims), w)
    yield bad(RuntimeError, "expected an input of shape", torch.zeros((4,) * dims), w)
    yield bad(RuntimeError, "expected an input of shape", x, w[..., 0])
    yield bad(RuntimeError, "only the batch may be empty", x[..., :0], w)
    yield bad(RuntimeError, "expected stride to be", x, w, stride=0)
    yield bad(RuntimeError, "expected padding to be", x, w, padding=-1)
    yield bad(RuntimeError, "expected padding to be", x, w, padding=(1,) * (dims + 1))
    yield bad(RuntimeError, "expected dilation to be", x, w, dilation=0)
    yield bad(RuntimeError, "expected a positive number of groups", x, w, groups=0)
    yield bad(RuntimeError, "expected a weight whose first dimension divides into 3 groups", x, w, groups=3)
    yield bad(RuntimeError, "expected a bias of shape (2,)", x, w, torch.zeros(3))
    yield bad(RuntimeError, "of one dtype", x.double(), w)
    if transposed:
        yield bad(RuntimeError, "expected an output_padding smaller", x, w, output_padding=1)
        yield bad(RuntimeError, "expected output_padding to be", x, w, output_padding=-1)
        yield bad(RuntimeError, "expected padding that leaves an output", x, w, padding=4)
        yield bad(TypeError, "expected padding to be an integer", x, w, padding="same")
    else:
        yield bad(RuntimeError, "expected a stride of 1 with padding='same'", x, w, padding="same", stride=2)
        yield bad(RuntimeError, "expected padding to be 'valid'", x, w, padding="full")
        yield bad(RuntimeError, "expected an input of at least the kernel's size", x[..., :2], w)


MODULE_OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"stride": 2, "padding": 1, "dilation": 2, "groups": 2, "bias": False},
    {"padding": "same", "padding_mode": "reflect"},
    {"padding": "valid", "padding_mode": "circular", "dtype": torch.float64},
)
TRANSPOSED_MODULE_OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2, "bias": False, "dilation": 2},
)


def modules(name: str, dims: int, transposed: bool) -> Iterator[tuple[Any, Any]]:
    classes = getattr(scratchnet.nn, name), getattr(nn, name)
    yield from module_pairs(
        *classes, *(TRANSPOSED_MODULE_OPTIONS if transposed else MODULE_OPTIONS), sizes=(4, 6, 3)
    )
    yield from module_pairs(*classes, {}, sizes=(1, 2, [3, 5, 1][:dims]))


def record(dims: int, transposed: bool) -> Record:
    name = f"conv_transpose{dims}d" if transposed else f"conv{dims}d"
    builtin: Callable[..., Any] = getattr(F, name)
    return Record(
        name,
        getattr(ours, name),
        builtin,
        partial(samples, dims=dims, transposed=transposed),
        [TransposedConvolutionFunction if transposed else ConvolutionFunction],
        errors=tuple(errors(dims, transposed)),
        # One output of nine terms is 1.8 units beyond twice the built-in's error, on a processor with AVX-512.
        roundings=2 if name == "conv2d" else 1,
        modules=tuple(modules(f"ConvTranspose{dims}d" if transposed else f"Conv{dims}d", dims, transposed)),
    )


RECORDS = tuple(record(dims, transposed) for transposed in (False, True) for dims in (1, 2, 3))
