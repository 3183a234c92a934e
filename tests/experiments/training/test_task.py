"""The order of the examples, and the shares of several processes in a batch."""

from __future__ import annotations

import pytest
import torch

from experiments import processes
from experiments.settings import Settings
from experiments.training import Task
from experiments.training.task import Batches, order_of_epoch


def test_each_epoch_has_all_examples_in_a_different_order():
    orders = [order_of_epoch(seed, epoch, 50) for seed in (0, 1) for epoch in (0, 1)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(50))
    assert len({tuple(order.tolist()) for order in orders}) == 4
    assert torch.equal(order_of_epoch(1, 1, 50), orders[3])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_weighted_shares_average_to_the_mean_of_the_batch(count, monkeypatch):
    """37 examples in batches of 6: the last batch has a single example, which only one process receives."""
    examples = torch.arange(37), torch.arange(37) * 10
    monkeypatch.setattr(processes, "size", lambda: count)
    seen, shares = [], []
    for index in range(7):
        drawn = []
        for rank in range(count):
            monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
            drawn.append(Batches(Task(examples, examples), Settings(batch_size=6, seed=4)).draw(2, index))
        assert all(torch.equal(batch.targets, batch.inputs * 10) for batch in drawn)
        assert sum(batch.weight for batch in drawn) == pytest.approx(count)
        counted = torch.cat([batch.inputs for batch in drawn if batch.weight])
        mean = sum(batch.inputs.double().mean() * batch.weight / count for batch in drawn)
        assert mean == pytest.approx(counted.double().mean())
        seen += counted.tolist()
        shares += [len(batch.inputs) for batch in drawn]
    assert torch.equal(torch.tensor(seen), order_of_epoch(4, 2, 37))
    assert min(shares) == 1
