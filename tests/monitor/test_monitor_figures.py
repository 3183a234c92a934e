"""Gradient norms, update ratios and learning rates: those of the step that the optimizer took."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from watched import line, network, train

from scratchnet.monitor import Monitor


def test_each_layer_has_the_norm_of_its_gradient_and_the_ratio_of_its_update(folder, read):
    model, optimizer = network()
    before = copy.deepcopy(dict(model.named_parameters()))
    with Monitor(model, optimizer, folder) as monitor:
        train(model, optimizer, 1, monitor)
    layers = {
        "Network": ["hidden_square"],
        "convolution": ["convolution.weight", "convolution.bias"],
        "norm": ["norm.weight", "norm.bias"],
        "hidden": ["hidden.weight", "hidden.bias"],
        "out": ["out.bias"],  # its weight is the root's, which comes first
    }
    parameters, events = dict(model.named_parameters()), read()

    def norm(tensors):
        return torch.cat([t.detach().double().flatten() for t in tensors]).norm().item()

    for layer, names in layers.items():
        gradient = norm([parameters[n].grad for n in names])
        ratio = norm([parameters[n] - before[n] for n in names]) / norm([before[n] for n in names])
        assert events.curve(f"per_layer_gradient_norm/{layer}") == {1: pytest.approx(gradient, rel=1e-5)}
        shown = events.curve(f"per_layer_update_ratio_log10/{layer}")
        assert shown == {1: pytest.approx(math.log10(ratio), abs=1e-5)}
    total = norm([p.grad for p in parameters.values() if p.grad is not None])
    assert events.curve("optimizer/gradient_norm") == {1: pytest.approx(total, rel=1e-5)}
    shown = [tag.partition("/")[2] for tag in events.scalars if tag.startswith("per_layer_gradient_norm/")]
    assert sorted(shown) == sorted(layers)
    assert not any("frozen" in tag for tag in events.histograms)
    # The unused layer did not move: its ratio is log10(0).
    assert events.curve("per_layer_update_ratio_log10/unused") == {1: -math.inf}


def test_the_gradient_is_the_one_the_optimizer_sees(folder, read):
    model = line()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Monitor(model, optimizer, folder) as monitor:
        model(torch.tensor([[30.0]])).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
        optimizer.zero_grad()
        monitor.step()
    assert read().curve("optimizer/gradient_norm") == {1: pytest.approx(2.0, rel=1e-5)}


def test_without_a_step_of_the_optimizer_gradients_are_read_at_the_end(folder, read):
    model = line(1.0)
    with Monitor(model, None, folder) as monitor:
        model(torch.tensor([[3.0]])).sum().backward()
        monitor.step()
    events = read()
    assert events.curve("optimizer/gradient_norm") == {1: 3.0}
    assert not any("update_ratio" in tag or "learning_rate" in tag for tag in events.scalars)


def test_a_closure_runs_inside_the_step(folder, read):
    model = line(1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.weight.grad = torch.tensor([[70.0]])  # stale

    def closure():
        optimizer.zero_grad()
        loss = model(torch.tensor([[3.0]])).sum()
        loss.backward()
        return loss

    with Monitor(model, optimizer, folder) as monitor:
        monitor.step(loss=optimizer.step(closure))
    assert read().curve("optimizer/gradient_norm") == {1: 3.0}
    assert read().curve("per_layer_update_ratio_log10/Linear") == {1: pytest.approx(math.log10(0.3), abs=1e-6)}


def test_two_updates_in_one_step_count_together(folder, read):
    model = line(1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.weight.grad = torch.ones(1, 1)
    with Monitor(model, optimizer, folder) as monitor:
        optimizer.step()
        optimizer.step()
        monitor.step()
    assert read().curve("per_layer_update_ratio_log10/Linear") == {1: pytest.approx(math.log10(0.2), abs=1e-6)}
    assert read().curve("optimizer/gradient_norm") == {1: 1.0}


def test_learning_rate_is_the_one_used(folder, read):
    model = line()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    with Monitor(model, optimizer, folder, every=2) as monitor:
        for _ in range(5):
            optimizer.step()
            schedule.step()
            monitor.step()
    assert read().curve("optimizer/learning_rate") == {1: 1.0, 3: 0.25, 5: 0.0625}


def test_each_group_has_its_own_learning_rate(folder, read):
    model, other = line(), line()
    optimizer = torch.optim.SGD([{"params": model.parameters()}, {"params": other.parameters()}], lr=0.25)
    optimizer.param_groups[0]["lr"] = torch.tensor(0.5, requires_grad=True)
    with Monitor(model, optimizer, folder) as monitor:
        optimizer.step()
        monitor.step()
    assert read().curve("optimizer/learning_rate/group_0") == {1: 0.5}
    assert read().curve("optimizer/learning_rate/group_1") == {1: 0.25}


def test_parameters_of_any_dtype_or_layout_are_read_where_they_can_be(folder, read):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.empty = nn.Parameter(torch.empty(0, 3))
            self.rotation = nn.Parameter(torch.tensor([3 + 4j]))
            self.short = nn.Parameter(torch.full((4,), 6e4, dtype=torch.float16))  # its norm overflows
            self.integers = nn.Parameter(torch.arange(3), requires_grad=False)
            self.embedding = nn.Embedding(5, 2, sparse=True)
            self.lazy = nn.LazyLinear(3)

    model = Odd()
    with Monitor(model, None, folder) as monitor:
        model.embedding(torch.tensor([1, 1])).sum().backward()  # row 1 twice: the gradient is 2 2
        model.rotation.grad = torch.tensor([6 + 8j])
        model.short.grad = model.short.detach().clone()
        monitor.step()
    events = read()
    assert events.curve("per_layer_gradient_norm/embedding") == {1: pytest.approx(8**0.5)}
    assert events.curve("per_layer_gradient_norm/Odd") == {1: pytest.approx(math.hypot(10, 120_000))}
    assert sorted(events.histograms) == sorted(
        ["weights/rotation", "weights/short", "weights/embedding.weight"]
        + ["weights_gradient/rotation", "weights_gradient/short", "weights_gradient/embedding.weight"]
    )


def test_a_layer_of_zeros_has_no_ratio(folder, read):
    model = line(0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Monitor(model, optimizer, folder) as monitor:
        model.weight.grad = torch.ones(1, 1)
        optimizer.step()
        monitor.step()
    assert "per_layer_update_ratio_log10/Linear" not in read().scalars
