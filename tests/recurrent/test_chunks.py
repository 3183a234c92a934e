"""Sequences in chunks give what one walk through all times gives, whether a network forgets or not."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest
import torch
from torch import Tensor

from scratchnet import nn
from scratchnet.recurrent import chunks
from scratchnet.recurrent.chunks import in_chunks
from scratchnet.recurrent.steps import Carry, Steps
from tests.test_purity import ALLOWED, Recorder

LENGTH = 1003


def sums(decay: float, walked: list[int]):
    """Returns the recurrence s ← decay · s + x, which notes how many steps it takes."""

    def run(rows, states, steps):
        s, found = Carry(states[0]), []
        for (x,) in steps.walk(rows[0]):
            s.state = decay * s.rows(x.shape[0]) + x
            found.append(s.state)
        walked.append(len(steps.sizes))
        return (steps.join(found),), (s.final(),)

    return run


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("decay", "most"), [(0.0, 0.25), (0.5, 0.25), (0.9, 0.6), (0.99, 1.3), (1.0, 1.3), (-1.0, 1.3), (1.01, 1.3)]
)
def test_chunks_are_one_walk(decay, most, batch, reverse):
    torch.manual_seed(0)
    x, first = torch.randn(LENGTH * batch, 2, dtype=torch.float64), torch.randn(batch, 2, dtype=torch.float64)
    walked: list[int] = []
    steps = Steps((batch,) * LENGTH, reverse)
    (rows,), (end,) = in_chunks(sums(decay, walked), (x.clone(),), (first,), steps)
    (expected,), (expected_end,) = sums(decay, [])((x,), (first,), steps)
    torch.testing.assert_close(rows, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(end, expected_end, rtol=1e-12, atol=1e-12)
    assert len(walked) > 1
    assert sum(walked) < most * LENGTH


def test_a_gradient_that_comes_last_alone_fades_like_in_one_walk():
    x = torch.zeros(LENGTH, 1, dtype=torch.float64)
    x[0] = 1.0
    (rows,), _ = in_chunks(sums(0.5, []), (x,), (torch.zeros(1, 1, dtype=torch.float64),), Steps((1,) * LENGTH))
    assert torch.equal(rows[:, 0], 0.5 ** torch.arange(LENGTH, dtype=torch.float64))


@pytest.mark.parametrize("spoiled", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_where_it_belongs(spoiled):
    x = torch.zeros(LENGTH, 1)
    x[500] = spoiled
    walked: list[int] = []
    (rows,), (end,) = in_chunks(sums(0.5, walked), (x.clone(),), (torch.zeros(1, 1),), Steps((1,) * LENGTH))
    assert torch.equal(rows[:500], torch.zeros(500, 1))
    assert torch.equal(rows[500:], torch.full_like(rows[500:], spoiled)) or rows[500:].isnan().all()
    assert not end.isfinite().any()
    assert sum(walked) < 1.3 * LENGTH


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_chunks_are_arithmetic(name):
    network = networks(name, "remembers")
    with Recorder() as seen:
        network(torch.randn(450, 1, 3, dtype=torch.float64))[0].sum().backward()
    assert "index_copy" in seen.names, "no chunks"
    assert seen.names <= ALLOWED, sorted(seen.names - ALLOWED)


def networks(name: str, manner: str) -> torch.nn.Module:
    torch.manual_seed(0)
    relu = {"nonlinearity": "relu"} if manner == "relu" else {}
    network = getattr(nn, name)(3, 4, bidirectional=True, dtype=torch.float64, **relu)
    with torch.no_grad():
        for key, weight in network.named_parameters():
            if manner == "remembers" and "bias" in key:
                weight[4:8] += 6.0  # the gates f and z
            if manner == "chaotic" and "weight_hh" in key:
                weight.mul_(6.0)
    return network


@pytest.mark.parametrize(
    ("name", "manner"),
    [
        ("RNN", "relu"),
        *((name, manner) for name in ("RNN", "LSTM", "GRU") for manner in ("", "remembers", "chaotic")),
    ],
)
def test_networks_in_chunks_are_those_in_one_walk(name, manner, monkeypatch):
    network = networks(name, manner)

    def run() -> list[Tensor]:
        torch.manual_seed(1)
        x = torch.randn(450, 2, 3, dtype=torch.float64, requires_grad=True)
        y, final = network(x)
        outputs = [y, *(final if isinstance(final, tuple) else (final,))]
        upstream = [torch.randn_like(z) for z in outputs]
        return [*outputs, *torch.autograd.grad(outputs, [x, *network.parameters()], upstream)]

    side_by_side = MagicMock(wraps=chunks._side_by_side)
    monkeypatch.setattr(chunks, "_side_by_side", side_by_side)
    found = run()
    assert side_by_side.called
    monkeypatch.setattr(chunks, "FEW", 0)
    expected = run()
    for a, b in zip(found, expected, strict=True):
        largest = b.abs().max().item()
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12 * max(largest, 1.0))
