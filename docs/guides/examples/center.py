"""Subtracts the mean along a dimension."""

from collections.abc import Sequence

from torch import Tensor

from scratchnet.function import Rowwise


class CenterFunction(Rowwise):
    @staticmethod
    def forward(x: Tensor, *, dim: int) -> tuple[Tensor, tuple[()]]:
        return x - x.mean(dim, keepdim=True), ()  # the output, and what backward needs

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, dim: int) -> Tensor:
        return grad - grad.mean(dim, keepdim=True)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, dim: int) -> Tensor:
        return tangents[0] - tangents[0].mean(dim, keepdim=True)


def center(x: Tensor, dim: int = -1) -> Tensor:
    return CenterFunction.apply(x, dim)
