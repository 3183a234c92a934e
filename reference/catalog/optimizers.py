"""The optimizers, as functions of a parameter and its gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from reference.catalog.record import Make, Record, Sample, bad
from scratchnet.optim import SGD, Adam, AdamW

__all__ = ["RECORDS"]

OF_SGD: tuple[dict[str, Any], ...] = (
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    {"momentum": 0.5, "maximize": True},
)
OF_ADAM: tuple[dict[str, Any], ...] = (
    {},
    {"betas": (0.5, 0.9), "eps": 0.1},
    {"weight_decay": 0.1},
    {"amsgrad": True, "weight_decay": 0.1},
    {"amsgrad": True, "maximize": True},
)


def steps(optimizer: Callable[..., Optimizer]) -> Callable[..., Tensor]:
    """Returns a function that makes one step for each gradient."""

    def after(start: Tensor, *gradients: Tensor, **options: Any) -> Tensor:
        parameter = start.detach().clone().requires_grad_()
        optimize = optimizer([parameter], **options)
        for gradient in gradients:
            parameter.grad = gradient.detach().clone()
            optimize.step()
        return parameter.detach()

    return after


def samples(every: tuple[dict[str, Any], ...], make: Make) -> Iterator[Sample]:
    for options in every:
        for implementation in ({"foreach": False}, {"foreach": True}):
            tensors = [make.normal(2, 3) for _ in range(4)]
            yield Sample(tuple(tensors), {"lr": 0.1, **options, **implementation}, smooth=False)
    yield Sample((make.normal(3, 2).detach().T.requires_grad_(), make.normal(2, 3)), {"lr": 0.1}, smooth=False)
    yield Sample((make.normal(0, 3), make.normal(0, 3)), {"lr": 0.1}, smooth=False)


TWO = torch.zeros(2), torch.zeros(2)

RATE = bad(ValueError, "Invalid learning rate: -1.0", *TWO, lr=-1.0)
DECAY = bad(ValueError, "Invalid weight_decay value: -0.1", *TWO, weight_decay=-0.1)

RECORDS = (
    Record(
        "SGD",
        steps(SGD),
        steps(torch.optim.SGD),
        partial(samples, OF_SGD),
        functions=(),
        errors=[
            RATE,
            bad(ValueError, "Invalid momentum value: -0.5", *TWO, momentum=-0.5),
            DECAY,
            bad(ValueError, "Nesterov momentum requires", *TWO, nesterov=True),
        ],
    ),
    *(
        Record(
            custom.__name__,
            steps(custom),
            steps(builtin),
            partial(samples, OF_ADAM),
            functions=(),
            errors=[
                RATE,
                bad(ValueError, "Invalid epsilon value: -1.0", *TWO, eps=-1.0),
                bad(ValueError, "Invalid beta parameter at index 1: 1.0", *TWO, betas=(0.9, 1.0)),
                DECAY,
            ],
        )
        for custom, builtin in ((Adam, torch.optim.Adam), (AdamW, torch.optim.AdamW))
    ),
)
