"""An op with reductions is written once: plain where its operations are recorded, in tiles otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from scratchnet.function import Rowwise, recorded
from scratchnet.tiling import rows

RECORDED: list[bool] = []


class Scale(Rowwise):
    """Divides rows by their length and returns it too, scales places, and keeps x, w and 1 / length."""

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor | None, *, dims: tuple[int, ...]
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor | None, ...]]:
        RECORDED.append(recorded())
        square = (x * x).mean(dims, keepdim=True)
        factor = square.rsqrt()
        y = x * factor
        y = y if weight is None else y * weight
        return (y.contiguous(), square.sqrt()), (x, weight, factor)

    @staticmethod
    def backward(
        grad: Sequence[Tensor], saved: Sequence[Tensor], needs: Sequence[bool], *, dims: tuple[int, ...]
    ) -> tuple[Tensor | None, Tensor | None]:
        RECORDED.append(recorded())
        x, weight, factor = saved
        g, of_length = grad
        h = g if weight is None else g * weight
        along = (h * x).mean(dims, keepdim=True)
        grad_x = factor * (h - x * factor**2 * along) if needs[0] else None
        if grad_x is not None:
            size = torch.ones_like(x).sum(dims, keepdim=True)
            grad_x = grad_x + of_length * x * factor / size
        grad_weight = (g * x * factor).sum(tuple(range(x.dim() - len(dims)))) if needs[1] else None
        return grad_x, grad_weight

    @staticmethod
    def jvp(
        tangents: Sequence[Tensor], saved: Sequence[Tensor], *, dims: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        x, weight, factor = saved
        along = (tangents[0] * x).mean(dims, keepdim=True)
        y = factor * (tangents[0] - x * factor**2 * along)
        y = y if weight is None else y * weight + x * factor * tangents[1]
        return y, along * factor


@pytest.fixture(autouse=True, params=[(0, 10), (0, 2**20), (2**20, 2**20)], ids=["tiles", "one tile", "plain"])
def sizes(request, monkeypatch):
    monkeypatch.setattr(rows, "SMALL", request.param[0])
    monkeypatch.setattr(rows, "PER_THREAD", request.param[1])
    monkeypatch.setattr(rows, "RUN", 1)


def leaves(*shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.rand(s, generator=generator, dtype=torch.float64) + 0.5).requires_grad_() for s in shapes]


@pytest.mark.parametrize("dims", [(-1,), (-2, -1)], ids=str)
@pytest.mark.parametrize("weighted", [True, False], ids=["weight", "no weight"])
def test_every_derivative_agrees_with_finite_differences(dims, weighted):
    inputs = leaves((4, 3, 2), (3, 2)[2 - len(dims) :]) if weighted else leaves((4, 3, 2))

    def function(x: Tensor, weight: Tensor | None = None) -> Tensor:
        return Scale.apply(x, weight, dims)

    assert gradcheck(function, inputs, check_forward_ad=weighted, check_batched_grad=True)
    assert gradgradcheck(function, inputs, check_batched_grad=True)


def test_only_what_nothing_records_is_rehearsed():
    x, weight = leaves((4, 3), (3,))
    RECORDED.clear()
    y, _ = Scale.apply(x, weight, (-1,))
    torch.autograd.grad(y.sum(), x, retain_graph=True)
    assert not any(RECORDED)
    RECORDED.clear()
    torch.autograd.grad(y.sum(), x, create_graph=True)
    assert all(RECORDED)


def test_one_output_alone_gets_a_gradient():
    x, weight = leaves((4, 3), (3,))
    y, length = Scale.apply(x, weight, (-1,))
    expected = torch.autograd.grad(x.square().mean(-1).sqrt().sum(), x)
    torch.testing.assert_close(torch.autograd.grad(length.sum(), x), expected)


def test_unneeded_gradients_are_not_computed():
    x, weight = leaves((4, 3), (3,))
    y, _ = Scale.apply(x.detach(), weight, (-1,))
    torch.testing.assert_close(torch.autograd.grad(y.sum(), weight)[0], (y / weight).sum(0))
