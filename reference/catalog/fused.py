"""Layers that run as one op where they meet: against PyTorch's, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import scratchnet.nn
from reference.catalog.convolution import bad
from reference.catalog.convolution import errors as errors_of_convolution
from reference.catalog.convolution import samples as samples_of_convolution
from reference.catalog.record import BadInput, Make, Record, Sample
from scratchnet.fused.pooled_convolution import ConvolutionReLUMaxPoolFunction, conv2d_relu_max_pool2d
from scratchnet.fused.rectified_convolution import ConvolutionReLUFunction, conv2d_relu

__all__ = ["RECORDS"]


def convolution_then_relu(*inputs: Any, **options: Any) -> Tensor:
    """Both, one after the other."""
    return F.relu(F.conv2d(*inputs, **options))


def convolution_then_relu_then_pooling(
    *inputs: Any,
    pool_kernel_size: Any = 2,
    pool_stride: Any = None,
    pool_padding: Any = 0,
    pool_dilation: Any = 1,
    ceil_mode: bool = False,
    **options: Any,
) -> Tensor:
    """All three, one after the other."""
    pooling = pool_kernel_size, pool_stride, pool_padding, pool_dilation, ceil_mode
    return F.max_pool2d(convolution_then_relu(*inputs, **options), *pooling)


def pooled(make: Make) -> Iterator[Sample]:
    """Every option of the pooling, alone and after those of the convolution; where nothing is positive."""
    kernels, bias = make.normal(3, 2, 2, 2), make.normal(3)
    for options in (
        {},
        {"pool_kernel_size": 3, "pool_stride": 2},
        {"pool_kernel_size": (2, 3), "pool_stride": 1, "pool_padding": 1},
        {"pool_kernel_size": 2, "pool_dilation": 2, "ceil_mode": True},
        {"padding": 1, "stride": (1, 2), "pool_stride": 3, "ceil_mode": True},
        {"padding": "same", "dilation": 2},
    ):
        yield Sample((make.normal(2, 2, 5, 6), kernels, bias), options)
    yield Sample((make.normal(2, 5, 5), kernels))
    yield Sample((make.normal(1, 4, 4, 4), make.normal(4, 2, 2, 2), make.normal(4)), {"groups": 2})
    yield Sample((make.normal(0, 2, 4, 4), kernels, bias))
    last = make.normal(2, 2, 5, 4).detach().to(memory_format=torch.channels_last).requires_grad_()
    yield Sample((last, kernels, bias), {"padding": 1})
    yield Sample((make.normal(2, 2, 4, 4, grad=False), kernels, bias))
    yield Sample((make.normal(2, 2, 4, 4), kernels.detach(), bias))
    below = make.uniform(3, low=-20.0, high=-10.0)
    yield Sample((make.normal(2, 2, 4, 4), kernels, below), {"pool_kernel_size": 3})


def errors_of_pooling() -> Iterator[BadInput]:
    """What neither convolution nor pooling takes."""
    yield from errors_of_convolution(2, transposed=False)
    x, w = torch.zeros(1, 2, 4, 4), torch.zeros(2, 2, 3, 3)
    wrong: tuple[tuple[str, dict[str, Any]], ...] = (
        ("expected pool_kernel_size to be", {"pool_kernel_size": 0}),
        ("expected pool_stride to be", {"pool_stride": 0}),
        ("expected pool_padding of at most half the kernel", {"pool_padding": 2}),
        ("expected pool_dilation to be", {"pool_dilation": 0}),
        ("expected an input of at least the kernel's size", {"pool_kernel_size": 3}),
    )
    for says, options in wrong:
        yield bad(says, x, w, **options)
        yield bad(says, x.bfloat16(), w.bfloat16(), **options)


def layers(of: Any) -> Any:
    """A container of layers that meet, of one module's names."""
    return of.Sequential(of.Conv2d(1, 2, 3), of.ReLU(), of.MaxPool2d(2), of.Conv2d(2, 3, 2), of.ReLU())


RECORDS = (
    Record(
        "conv2d_relu",
        conv2d_relu,
        convolution_then_relu,
        partial(samples_of_convolution, dims=2, transposed=False),
        [ConvolutionReLUFunction],
        errors=tuple(errors_of_convolution(2, transposed=False)),
        # One output of nine products: 1.8 units beyond twice the built-in's error, on a processor with AVX-512.
        roundings=2,
    ),
    Record(
        "conv2d_relu_max_pool2d",
        conv2d_relu_max_pool2d,
        convolution_then_relu_then_pooling,
        pooled,
        [ConvolutionReLUMaxPoolFunction],
        errors=tuple(errors_of_pooling()),
        modules=[(partial(layers, scratchnet.nn), partial(layers, torch.nn))],
    ),
)
