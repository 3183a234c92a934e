"""Linear and bilinear maps."""

from __future__ import annotations

import torch
from torch import Tensor

from scratchnet import functional as F

__all__ = ["Bilinear", "LazyLinear", "Linear", "NonDynamicallyQuantizableLinear"]


class Linear(torch.nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)


class LazyLinear(Linear, torch.nn.LazyLinear):
    cls_to_become = Linear


class NonDynamicallyQuantizableLinear(Linear, torch.nn.modules.linear.NonDynamicallyQuantizableLinear):
    """Projects the output of attention."""


class Bilinear(torch.nn.Bilinear):
    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)
