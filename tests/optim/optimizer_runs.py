"""The same run with PyTorch's optimizers and with ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.testing import assert_close

from scratchnet.optim import SGD, Adam, AdamW

Make = Callable[..., Optimizer]
OPTIMIZERS: dict[str, tuple[Make, Make]] = {
    "SGD": (torch.optim.SGD, SGD),
    "Adam": (torch.optim.Adam, Adam),
    "AdamW": (torch.optim.AdamW, AdamW),
}
SHAPES = [(), (3,), (5, 7), (0, 4), (2, 3, 4, 4), (129,)]
OF_SGD: list[dict[str, Any]] = [
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
OF_ADAM: list[dict[str, Any]] = [
    {},
    {"lr": 1},
    {"weight_decay": 0.1},
    {"maximize": True, "weight_decay": 0.1},
    {"betas": (0.5, 0.9), "eps": 1e-3},
    {"betas": (0.0, 0.0), "eps": 0.0},
    {"amsgrad": True, "betas": (0.9, 0.5)},
    {"amsgrad": True, "weight_decay": 0.1, "maximize": True},
    {"lr": torch.tensor(0.1), "amsgrad": True},
    {"lr": torch.tensor([0.1], dtype=torch.float64), "weight_decay": torch.tensor(0.01)},
    {"betas": (torch.tensor(0.9), torch.tensor([0.99])), "weight_decay": 0.1},
]
OPTIONS = [("SGD", options) for options in OF_SGD] + [
    (name, options) for name in ("Adam", "AdamW") for options in OF_ADAM
]

every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)
every_option = pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)


def has_tensors(options: dict[str, Any]) -> bool:
    return any(isinstance(value, Tensor) for value in (*options.values(), *options.get("betas", ())))


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
    assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


def assert_same_run(name: str, run: Callable[[Make], tuple[Optimizer, list[Tensor]]]) -> None:
    """Compare parameters and state after the same run with either optimizer."""
    (their_optimizer, theirs), (our_optimizer, ours) = map(run, OPTIMIZERS[name])
    beginning = tensors(ours[0].dtype, [p.shape for p in ours])
    assert any(not torch.equal(end, start) for end, start in zip(ours, beginning, strict=True))
    assert_same(ours, theirs)
    assert_same(our_optimizer.state_dict(), their_optimizer.state_dict())
