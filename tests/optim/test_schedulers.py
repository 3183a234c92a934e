"""Schedulers and averaged weights, as torch's, around our SGD."""

from __future__ import annotations

import torch

from scratchnet.nn import Linear
from scratchnet.optim import SGD, lr_scheduler, swa_utils


def rates_and_weights(optimizer_class, schedulers, averages):
    torch.manual_seed(0)
    model = Linear(3, 2).double()
    optimizer = optimizer_class(model.parameters(), lr=0.1, momentum=0.9)
    warm = schedulers.LinearLR(optimizer, 0.5, total_iters=3)
    schedule = schedulers.SequentialLR(optimizer, [warm, schedulers.CosineAnnealingLR(optimizer, 5)], [3])
    averaged = averages.AveragedModel(model)
    slow = averages.SWALR(optimizer, swa_lr=0.01, anneal_epochs=2)
    rates = []
    for step in range(8):
        optimizer.zero_grad()
        model(torch.ones(4, 3, dtype=torch.float64)).square().sum().backward()
        optimizer.step()
        (schedule if step < 5 else slow).step()
        if step >= 5:
            averaged.update_parameters(model)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates, averaged.module.weight


def test_schedules_and_averages_are_torchs():
    rates, weight = rates_and_weights(SGD, lr_scheduler, swa_utils)
    expected_rates, expected = rates_and_weights(torch.optim.SGD, torch.optim.lr_scheduler, torch.optim.swa_utils)
    assert rates == expected_rates
    torch.testing.assert_close(weight, expected)
