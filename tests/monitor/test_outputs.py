from __future__ import annotations

import pytest
import torch
from torch import nn

from scratchnet.monitor import Monitor


def watch(module, folder, *inputs, micro_batches=1):
    with Monitor(module, None, folder) as monitor:
        for x in inputs:
            for part in x.chunk(micro_batches):
                module(part)
        monitor.step()


class Renamed(nn.ReLU):
    """A subclass counts as what it inherits from."""


class ReLU(nn.Module):
    """Known by its name, as `scratchnet.nn.ReLU` is."""

    def forward(self, x):
        return torch.where(x > 0, x, 0)


@pytest.mark.parametrize(
    ("activation", "dead"),
    [
        (nn.ReLU(), 0.4),
        (nn.ReLU6(), 0.4),
        (nn.LeakyReLU(), 0.4),
        (Renamed(), 0.4),
        (ReLU(), 0.4),
        (nn.GELU(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_dead_share_of_features(activation, dead, folder, read):
    x = torch.rand(8, 5) + 0.1
    x[:, 1] *= -1  # dead: not above zero for any sample
    x[:, 3] = 0  # dead
    x[1:, 4] *= -1  # alive for one sample
    watch(activation, folder, x)
    tag = f"units_dead/{type(activation).__name__}"
    if dead is None:
        assert tag not in read().scalars
    else:
        assert read().curve(tag) == {1: pytest.approx(dead)}


@pytest.mark.parametrize(
    ("modules", "shape", "axis"),
    [
        ([], (6, 4), 1),
        ([], (4,), 0),
        ([], (6, 3, 4), 2),  # batch, time, features
        ([nn.Conv1d(4, 4, 1)], (6, 4, 3), 1),  # batch, channels, length
        ([], (6, 4, 3, 5), 1),
        ([], (2, 4, 3, 5, 2), 1),
    ],
)
def test_what_a_unit_is(modules, shape, axis, folder, read):
    x = torch.rand(shape) + 0.1
    x.select(axis, 2).mul_(-1)
    for convolution in modules:
        nn.init.dirac_(convolution.weight)
        nn.init.zeros_(convolution.bias)
    watch(nn.Sequential(*modules, nn.ReLU()), folder, x)
    assert read().curve(f"units_dead/{len(modules)}") == {1: pytest.approx(0.25)}


@pytest.mark.parametrize(
    ("activation", "saturated"),
    [
        (nn.Tanh(), [-9.0, -2.1, 2.1]),  # |tanh(2.09)| is 0.97
        (nn.Sigmoid(), [-9.0, -3.5, 3.5]),  # sigmoid(-3.48) is 0.03
        (nn.ELU(alpha=2.0), [-9.0, -4.0, -3.6]),  # 1 - exp(-3.51) is 0.97, whatever alpha
        (nn.SELU(), [-9.0, -4.0, -3.6]),
        (nn.CELU(), [-9.0, -4.0, -3.6]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_saturated_share(activation, saturated, folder, read):
    free = [-2.0, -1.0, 0.0, 1.0, 2.0]
    watch(activation, folder, torch.tensor([free + saturated]))
    assert read().curve(f"units_saturated/{type(activation).__name__}") == {1: 3 / 8}


def test_activation_with_a_learned_floor_has_no_saturated_share(folder, read):
    class ELU(nn.Module):
        def __init__(self):
            super().__init__()
            self.alpha = nn.Parameter(torch.ones(2))

        def forward(self, x):
            return torch.where(x > 0, x, self.alpha * torch.expm1(x))

    watch(ELU(), folder, torch.ones(1, 2))
    assert read().scalars == ["outputs_mean/ELU", "outputs_std/ELU"]


def test_mean_and_deviation_pool_the_calls_of_a_step(folder, read):
    x, y = 1000 + 0.1 * torch.randn(4, 3, dtype=torch.float64), torch.randn(20, 6, dtype=torch.float64)
    module = nn.ReLU()
    watch(module, folder, x, y)
    pooled = torch.cat([x.flatten(), y.clamp(min=0).flatten()])
    events = read()
    assert events.curve("outputs_mean/ReLU")[1] == pytest.approx(pooled.mean().item(), rel=1e-6)
    assert events.curve("outputs_std/ReLU")[1] == pytest.approx(pooled.std(correction=0).item(), rel=1e-6)


def test_deviation_of_values_with_a_large_mean(folder, read):
    x = 1000 + 0.1 * torch.randn(64, 8)
    watch(nn.ReLU(), folder, x)
    assert read().curve("outputs_std/ReLU")[1] == pytest.approx(x.std(correction=0).item(), rel=1e-4)


def test_exploded_outputs(folder, read):
    x = torch.full((2, 2), 1e300, dtype=torch.float64)
    watch(nn.ReLU(), folder, x, -x)
    assert read().curve("outputs_std/ReLU") == {1: float("inf")}


def test_dead_share_pools_calls_by_units(folder, read):
    dead, alive = -torch.ones(3, 10), torch.ones(3, 30)
    watch(nn.ReLU(), folder, dead, alive)
    assert read().curve("units_dead/ReLU") == {1: 0.25}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(dtype, folder, read):
    x = torch.full((40, 400), 600.0, dtype=dtype)
    x[:20] = 0  # the variance, 300², is beyond float16
    watch(nn.ReLU(), folder, x)
    assert (read().curve("outputs_mean/ReLU"), read().curve("outputs_std/ReLU")) == ({1: 300.0}, {1: 300.0})


def test_nan_shows_in_the_mean(folder, read):
    watch(nn.ReLU(), folder, torch.tensor([[float("nan"), 1.0]]))
    assert read().curve("outputs_mean/ReLU")[1] != read().curve("outputs_mean/ReLU")[1]
    assert read().curve("units_dead/ReLU") == {1: 0.0}


class Returns(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(x)


@pytest.mark.parametrize(
    ("wrap", "seen"),
    [
        (lambda x: (x, None), True),
        (lambda x: [None, (x,)], True),
        (lambda x: {"index": x.long(), "hidden": x}, True),
        (lambda x: x.long(), False),
        (lambda x: x.sum(), False),  # a loss, no batch
        (lambda x: x[:0], False),
        (lambda x: x.to_sparse(), False),
        (lambda x: torch.complex(x, x), False),
        (lambda x: None, False),
    ],
    ids=["tuple", "nested", "dictionary", "integers", "scalar", "empty", "sparse", "complex", "none"],
)
def test_outputs_of_every_kind(wrap, seen, folder, read):
    watch(Returns(wrap), folder, torch.tensor([[1.0, 2.0]]))
    events = read()
    assert events.scalars == (["outputs_mean/Returns", "outputs_std/Returns"] if seen else [])
    assert not seen or events.curve("outputs_mean/Returns") == {1: 1.5}


def test_recurrent_and_attention_modules(folder, read):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.attention = nn.LSTM(4, 8), nn.MultiheadAttention(8, 2)

        def forward(self, x):
            x, _ = self.lstm(x)
            return self.attention(x, x, x)[0]

    model, x = Model(), torch.randn(5, 3, 4)
    watch(model, folder, x)
    assert read().curve("outputs_mean/lstm")[1] == pytest.approx(model.lstm(x)[0].mean().item(), rel=1e-4)
    assert read().curve("outputs_mean/attention")[1] == pytest.approx(model(x).mean().item(), rel=1e-4)


def test_what_moves_values_only_is_left_out(folder, read):
    model = nn.Sequential(nn.Dropout(), nn.Flatten(), nn.Identity(), nn.Sequential(nn.Tanh()))
    watch(model, folder, torch.randn(3, 2))
    assert read().scalars == ["outputs_mean/3.0", "outputs_std/3.0", "units_saturated/3.0"]


@pytest.mark.parametrize("how", ["evaluation", "no_grad"])
def test_passes_that_do_not_train_are_left_out(how, folder, read):
    model, x = nn.Sequential(nn.ReLU()), torch.ones(2, 2)
    with Monitor(model, None, folder) as monitor:
        with torch.set_grad_enabled(how != "no_grad"):
            model.train(how != "evaluation")(5 * x)
        model.train()(x)
        monitor.step()
    assert read().curve("outputs_mean/0") == {1: 1.0}
