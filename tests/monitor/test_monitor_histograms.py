"""Histograms of whatever values there are."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from watched import network, train

from scratchnet.monitor import Monitor


@pytest.mark.parametrize(
    ("gradient", "share", "histogram"),
    [
        ([1.0, float("nan"), float("inf"), 2.0], 0.5, True),
        ([float("nan")] * 4, 1.0, False),
        ([-math.inf] * 4, 1.0, False),
        ([3e38, -3e38, 1e-45, 0.0], 0.0, True),
        ([1.0, 1.0 + 2**-52, 1.0, 1.0], 0.0, True),
        ([1e300, -1e300, 0.0, 0.0], 0.0, True),
        ([0.0] * 4, 0.0, True),
    ],
)
def test_a_histogram_holds_the_finite_values_and_the_others_have_a_share(gradient, share, histogram, folder, read):
    model = nn.Linear(4, 1, bias=False, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with Monitor(model, optimizer, folder) as monitor:
        model.weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        monitor.step()
    events, tag = read(), "nonfinite/weights_gradient/weight"
    assert (events.curve(tag)[1] if tag in events.scalars else 0.0) == share
    assert ("weights_gradient/weight" in events.histograms) == histogram
    if histogram:
        (event,) = events.accumulator.Histograms("weights_gradient/weight")
        assert event.histogram_value.num == 4 * (1 - share)


def test_exploded_weights_do_not_stop_the_training(folder, read):
    model, optimizer = network(lr=1e30)
    with Monitor(model, optimizer, folder, every=1) as monitor:
        train(model, optimizer, 4, monitor)
    assert 0 < read().curve("nonfinite/weights/hidden.weight")[4] <= 1
    assert math.isnan(read().curve("per_layer_update_ratio_log10/hidden")[4])


def test_a_histogram_counts_every_value_once(folder, read):
    model = nn.Linear(100, 3, bias=False)
    with Monitor(model, None, folder) as monitor:
        monitor.step()
    value = read().accumulator.Histograms("weights/weight")[0].histogram_value
    weight = model.weight.detach().double()
    assert (value.min, value.max, value.num) == (weight.min().item(), weight.max().item(), 300)
    assert (value.sum, sum(value.bucket)) == (pytest.approx(weight.sum().item()), 300)
