"""Squareplus, a smooth rectifier without exponentials."""

import torch
from torch import Tensor

from scratchnet.function import Elementwise


class SquareplusFunction(Elementwise):
    @staticmethod
    def value(x: Tensor, *, b: float) -> Tensor:
        return 0.5 * (x + torch.sqrt(x * x + b))

    @staticmethod
    def slope(x: Tensor, *, b: float) -> Tensor:
        return 0.5 * (1 + x / torch.sqrt(x * x + b))


def squareplus(x: Tensor, b: float = 4.0) -> Tensor:
    return SquareplusFunction.apply(x, b)
