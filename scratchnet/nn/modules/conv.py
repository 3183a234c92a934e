"""Convolution and its transpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from scratchnet import functional as F

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "LazyConv1d",
    "LazyConv2d",
    "LazyConv3d",
    "LazyConvTranspose1d",
    "LazyConvTranspose2d",
    "LazyConvTranspose3d",
]


class _ConvNd(torch.nn.modules.conv._ConvNd):
    """Convolves in ``_conv_forward``, which subclasses call and override as they do torch's."""

    _convolve: ClassVar[Callable[..., Tensor]]

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_reversed_padding_repeated_twice" not in state:  # pickled before the layers derived from torch's
            sizes = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
            fresh = type(self)(**{name: state[name] for name in sizes}, device="meta")
            state = {**vars(fresh), **state}
        super().__setstate__(state)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode), 0
        return self._convolve(input, weight, bias, self.stride, padding, self.dilation, self.groups)


class _ConvTransposeNd(torch.nn.modules.conv._ConvTransposeNd):
    """Computes the transpose of a convolution."""

    _convolve: ClassVar[Callable[..., Tensor]]

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        sizes: Any = self.stride, self.padding, self.kernel_size, len(self.kernel_size), self.dilation
        missing = self._output_padding(input, output_size, *sizes)
        options = self.stride, self.padding, missing, self.groups, self.dilation
        return self._convolve(input, self.weight, self.bias, *options)


class Conv1d(_ConvNd, torch.nn.Conv1d):
    _convolve = staticmethod(F.conv1d)


class ConvTranspose1d(_ConvTransposeNd, torch.nn.ConvTranspose1d):
    _convolve = staticmethod(F.conv_transpose1d)


class Conv2d(_ConvNd, torch.nn.Conv2d):
    _convolve = staticmethod(F.conv2d)


class ConvTranspose2d(_ConvTransposeNd, torch.nn.ConvTranspose2d):
    _convolve = staticmethod(F.conv_transpose2d)


class Conv3d(_ConvNd, torch.nn.Conv3d):
    _convolve = staticmethod(F.conv3d)


class ConvTranspose3d(_ConvTransposeNd, torch.nn.ConvTranspose3d):
    _convolve = staticmethod(F.conv_transpose3d)


class LazyConv1d(Conv1d, torch.nn.LazyConv1d):  # type: ignore[misc]  # torch declares uninitialized parameters there
    cls_to_become = Conv1d


class LazyConvTranspose1d(ConvTranspose1d, torch.nn.LazyConvTranspose1d):  # type: ignore[misc]  # torch declares uninitialized parameters there
    cls_to_become = ConvTranspose1d


class LazyConv2d(Conv2d, torch.nn.LazyConv2d):  # type: ignore[misc]  # torch declares uninitialized parameters there
    cls_to_become = Conv2d


class LazyConvTranspose2d(ConvTranspose2d, torch.nn.LazyConvTranspose2d):  # type: ignore[misc]  # torch declares uninitialized parameters there
    cls_to_become = ConvTranspose2d


class LazyConv3d(Conv3d, torch.nn.LazyConv3d):  # type: ignore[misc]  # torch declares uninitialized parameters there
    cls_to_become = Conv3d


class LazyConvTranspose3d(ConvTranspose3d, torch.nn.LazyConvTranspose3d):  # type: ignore[misc]  # torch declares uninitialized parameters there
    cls_to_become = ConvTranspose3d
