"""Every scheduler of PyTorch sets the learning rate of ours as of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from optimizer_runs import Make, assert_same_run, every_optimizer, tensors, train
from torch import Tensor
from torch.optim import Optimizer, lr_scheduler, swa_utils
from torch.optim.lr_scheduler import LRScheduler

SCHEDULES: dict[str, Callable[[Optimizer], LRScheduler]] = {
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda step: 0.9**step),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, lambda step: 0.9),
    "StepLR": lambda o: lr_scheduler.StepLR(o, 3),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [2, 5]),
    "ConstantLR": lambda o: lr_scheduler.ConstantLR(o, 0.5, 4),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o, 0.1, total_iters=5),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.8),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.1, total_iters=3), lr_scheduler.ExponentialLR(o, 0.8)], [3]
    ),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, 6, 2.0),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 6, 1e-3),
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(o, 0.1, 3), lr_scheduler.ExponentialLR(o, 0.8)]
    ),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=1),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 1e-3, 0.1, step_size_up=3, mode="exp_range", gamma=0.9),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.2, total_steps=10),
    "SWALR": lambda o: swa_utils.SWALR(o, 0.01, anneal_epochs=4),
}


def test_every_scheduler_is_tried() -> None:
    public = {name for name in lr_scheduler.__all__ if name != "LRScheduler"}
    assert public | {"SWALR"} == set(SCHEDULES)


@every_optimizer
@pytest.mark.parametrize("tensor_lr", [False, True])
@pytest.mark.parametrize("scheduler", SCHEDULES)
def test_schedulers_are_bit_equal(scheduler: str, tensor_lr: bool, name: str) -> None:
    rates: list[list[float]] = []

    def run(optimizer_class: Make) -> tuple[Optimizer, list[Tensor]]:
        params = tensors()
        lr = torch.tensor(0.1) if tensor_lr else 0.1
        optimizer = optimizer_class(params, lr=lr, **({"momentum": 0.9} if name == "SGD" else {}))
        schedule = SCHEDULES[scheduler](optimizer)
        rates.append([])
        for step in range(8):
            train(optimizer, params, range(step, step + 1))
            if isinstance(schedule, lr_scheduler.ReduceLROnPlateau):
                schedule.step(1.0)
            else:
                schedule.step()
            rates[-1].append(float(optimizer.param_groups[0]["lr"]))
        return optimizer, params

    assert_same_run(name, run)
    assert rates[0] == rates[1]
    assert len(set(rates[1])) > 1
