"""Fused layers, compared with PyTorch's layers one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import scratchnet.nn
from reference.catalog.convolution import errors as convolution_errors
from reference.catalog.convolution import samples as convolution_samples
from reference.catalog.record import BadInput, Make, Record, Sample, bad
from scratchnet.fused.pooled_convolution import ConvolutionReLUMaxPoolFunction, conv2d_relu_max_pool2d
from scratchnet.fused.rectified_convolution import ConvolutionReLUFunction, conv2d_relu

__all__ = ["RECORDS"]


def unfused_conv2d_relu(*inputs: Any, **options: Any) -> Tensor:
    return F.relu(F.conv2d(*inputs, **options))


def unfused_conv2d_relu_max_pool2d(
    *inputs: Any,
    pool_kernel_size: Any = 2,
    pool_stride: Any = None,
    pool_padding: Any = 0,
    pool_dilation: Any = 1,
    ceil_mode: bool = False,
    **options: Any,
) -> Tensor:
    pooling = pool_kernel_size, pool_stride, pool_padding, pool_dilation, ceil_mode
    return F.max_pool2d(unfused_conv2d_relu(*inputs, **options), *pooling)


def pooled(make: Make) -> Iterator[Sample]:
    """Yields options of the pooling alone and with the convolution's, and outputs that are all negative."""
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
    yield Sample((make.normal(2, 2, 6, 5), make.normal(3, 2, 3, 3), bias), {"padding": 1})
    yield Sample((make.normal(2, 5, 5), kernels))
    yield Sample((make.normal(1, 4, 4, 4), make.normal(4, 2, 2, 2), make.normal(4)), {"groups": 2})
    yield Sample((make.normal(0, 2, 4, 4), kernels, bias))
    last = make.normal(2, 2, 5, 4).detach().to(memory_format=torch.channels_last).requires_grad_()
    yield Sample((last, kernels, bias), {"padding": 1})
    yield Sample((make.normal(2, 2, 4, 4, grad=False), kernels, bias))
    yield Sample((make.normal(2, 2, 4, 4), kernels.detach(), bias))
    below = make.uniform(3, low=-20.0, high=-10.0)
    yield Sample((make.normal(2, 2, 4, 4), kernels, below), {"pool_kernel_size": 3})


def pooling_errors() -> Iterator[BadInput]:
    yield from convolution_errors(2, transposed=False)
    x, w = torch.zeros(1, 2, 4, 4), torch.zeros(2, 2, 3, 3)
    wrong: tuple[tuple[str, dict[str, Any]], ...] = (
        ("expected pool_kernel_size to be", {"pool_kernel_size": 0}),
        ("expected pool_stride to be", {"pool_stride": 0}),
        ("expected pool_padding of at most half the kernel", {"pool_padding": 2}),
        ("expected pool_dilation to be", {"pool_dilation": 0}),
        ("expected an input of at least the kernel's size", {"pool_kernel_size": 3}),
    )
    for says, options in wrong:
        yield bad(RuntimeError, says, x, w, **options)
        yield bad(RuntimeError, says, x.bfloat16(), w.bfloat16(), **options)


def layers(nn: Any) -> Any:
    """Returns a container of fusible layers from the given namespace."""
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 3, 2), nn.ReLU())


RECORDS = (
    Record(
        "conv2d_relu",
        conv2d_relu,
        unfused_conv2d_relu,
        partial(convolution_samples, dims=2, transposed=False),
        [ConvolutionReLUFunction],
        errors=tuple(convolution_errors(2, transposed=False)),
        # One output of nine terms is 1.8 units beyond twice the built-in's error, on a processor with AVX-512.
        roundings=2,
    ),
    Record(
        "conv2d_relu_max_pool2d",
        conv2d_relu_max_pool2d,
        unfused_conv2d_relu_max_pool2d,
        pooled,
        [ConvolutionReLUMaxPoolFunction],
        errors=tuple(pooling_errors()),
        modules=[(partial(layers, scratchnet.nn), partial(layers, torch.nn))],
    ),
)
