"""Multiplies by a power of a weight."""

from collections.abc import Sequence

from torch import Tensor

from scratchnet.function import Function


class ScaleFunction(Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, *, power: float) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        scale = weight**power
        return x * scale, (x, weight, scale)  # an intermediate may be saved: second derivatives compute it again

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, power: float
    ) -> tuple[Tensor, Tensor]:
        x, weight, scale = saved
        grad_weight = (grad * x * power * weight ** (power - 1)).sum_to_size(weight.shape)
        return grad * scale, grad_weight

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, power: float) -> Tensor:
        x, weight, scale = saved
        return tangents[0] * scale + x * power * weight ** (power - 1) * tangents[1]


def scale(x: Tensor, weight: Tensor, power: float = 2.0) -> Tensor:
    return ScaleFunction.apply(x, weight, power)
