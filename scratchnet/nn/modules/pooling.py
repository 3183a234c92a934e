"""Pooling and unpooling."""

from __future__ import annotations

import torch
from torch import Tensor

from scratchnet import functional as F

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "FractionalMaxPool2d",
    "FractionalMaxPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
]


class MaxPool1d(torch.nn.MaxPool1d):
    def forward(self, input: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        sizes = self.kernel_size, self.stride, self.padding, self.dilation
        return F.max_pool1d(input, *sizes, ceil_mode=self.ceil_mode, return_indices=self.return_indices)


class MaxUnpool1d(torch.nn.MaxUnpool1d):
    def forward(self, input: Tensor, indices: Tensor, output_size: list[int] | None = None) -> Tensor:
        return F.max_unpool1d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class AvgPool1d(torch.nn.AvgPool1d):
    def forward(self, input: Tensor) -> Tensor:
        options = self.ceil_mode, self.count_include_pad
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, *options)


class LPPool1d(torch.nn.LPPool1d):
    def forward(self, input: Tensor) -> Tensor:
        return F.lp_pool1d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class AdaptiveMaxPool1d(torch.nn.AdaptiveMaxPool1d):
    def forward(self, input: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveAvgPool1d(torch.nn.AdaptiveAvgPool1d):
    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool1d(input, self.output_size)


class MaxPool2d(torch.nn.MaxPool2d):
    def forward(self, input: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        sizes = self.kernel_size, self.stride, self.padding, self.dilation
        return F.max_pool2d(input, *sizes, ceil_mode=self.ceil_mode, return_indices=self.return_indices)


class MaxUnpool2d(torch.nn.MaxUnpool2d):
    def forward(self, input: Tensor, indices: Tensor, output_size: list[int] | None = None) -> Tensor:
        return F.max_unpool2d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class AvgPool2d(torch.nn.AvgPool2d):
    def forward(self, input: Tensor) -> Tensor:
        options = self.ceil_mode, self.count_include_pad, self.divisor_override
        return F.avg_pool2d(input, self.kernel_size, self.stride, self.padding, *options)


class LPPool2d(torch.nn.LPPool2d):
    def forward(self, input: Tensor) -> Tensor:
        return F.lp_pool2d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class AdaptiveMaxPool2d(torch.nn.AdaptiveMaxPool2d):
    def forward(self, input: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)


class AdaptiveAvgPool2d(torch.nn.AdaptiveAvgPool2d):
    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(input, self.output_size)


class FractionalMaxPool2d(torch.nn.FractionalMaxPool2d):
    _random_samples: Tensor | None

    def forward(self, input: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        sizes = self.kernel_size, self.output_size, self.output_ratio, self.return_indices
        # The constructor has made a pair of the ratio, which torch annotates as it may be given.
        return F.fractional_max_pool2d(input, *sizes, _random_samples=self._random_samples)  # type: ignore[arg-type]


class MaxPool3d(torch.nn.MaxPool3d):
    def forward(self, input: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        sizes = self.kernel_size, self.stride, self.padding, self.dilation
        return F.max_pool3d(input, *sizes, ceil_mode=self.ceil_mode, return_indices=self.return_indices)


class MaxUnpool3d(torch.nn.MaxUnpool3d):
    def forward(self, input: Tensor, indices: Tensor, output_size: list[int] | None = None) -> Tensor:
        return F.max_unpool3d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class AvgPool3d(torch.nn.AvgPool3d):
    def forward(self, input: Tensor) -> Tensor:
        options = self.ceil_mode, self.count_include_pad, self.divisor_override
        return F.avg_pool3d(input, self.kernel_size, self.stride, self.padding, *options)


class LPPool3d(torch.nn.LPPool3d):
    def forward(self, input: Tensor) -> Tensor:
        return F.lp_pool3d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class AdaptiveMaxPool3d(torch.nn.AdaptiveMaxPool3d):
    def forward(self, input: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return F.adaptive_max_pool3d(input, self.output_size, self.return_indices)


class AdaptiveAvgPool3d(torch.nn.AdaptiveAvgPool3d):
    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool3d(input, self.output_size)


class FractionalMaxPool3d(torch.nn.FractionalMaxPool3d):
    _random_samples: Tensor | None

    def forward(self, input: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        sizes = self.kernel_size, self.output_size, self.output_ratio, self.return_indices
        # The constructor has made a triple of the ratio, which torch annotates as it may be given.
        return F.fractional_max_pool3d(input, *sizes, _random_samples=self._random_samples)  # type: ignore[arg-type]
