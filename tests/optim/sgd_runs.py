"""The same run with PyTorch's SGD and with ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.testing import assert_close

from scratchnet.optim import SGD

OPTIMIZERS = (torch.optim.SGD, SGD)
SHAPES = [(), (3,), (5, 7), (0, 4), (2, 3, 4, 4), (129,)]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"lr": 1},
    {"weight_decay": 0.01},
    {"maximize": True},
    {"maximize": True, "weight_decay": 0.01},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "maximize": True},
    {"lr": torch.tensor(0.1), "momentum": 0.9},
    {"lr": torch.tensor([0.1], dtype=torch.float64), "weight_decay": torch.tensor(0.01)},
]


def tensors(dtype: torch.dtype = torch.float32, shapes: list[tuple[int, ...]] = SHAPES) -> list[Tensor]:
    """Leaf tensors that are the same at every call; the four-dimensional one lies channels-last in memory."""
    torch.manual_seed(0)
    values = [torch.randn(shape, dtype=dtype) for shape in shapes]
    values = [v.contiguous(memory_format=torch.channels_last) if v.dim() == 4 else v for v in values]
    return [value.requires_grad_() for value in values]


def set_gradients(params: list[Tensor], step: int) -> None:
    """Fresh random gradients; every third step, one parameter in two has none."""
    torch.manual_seed(100 + step)
    for i, param in enumerate(params):
        grad = torch.randn_like(param)
        param.grad = None if step % 3 == 1 and i % 2 else grad


def train(optimizer: Optimizer, params: list[Tensor], steps: range) -> None:
    for step in steps:
        set_gradients(params, step)
        optimizer.step()


def assert_same(ours: Any, theirs: Any) -> None:
    assert_close(ours, theirs, rtol=0, atol=0)


def assert_same_run(run: Callable[[Callable[..., Optimizer]], tuple[Optimizer, list[Tensor]]]) -> None:
    """Compare parameters and state after the same run with either optimizer."""
    (their_optimizer, theirs), (our_optimizer, ours) = map(run, OPTIMIZERS)
    beginning = tensors(ours[0].dtype, [p.shape for p in ours])
    assert any(not torch.equal(end, start) for end, start in zip(ours, beginning, strict=True))
    assert_same(ours, theirs)
    assert_same(our_optimizer.state_dict(), their_optimizer.state_dict())
