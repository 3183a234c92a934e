"""The batches of a training, in an order that depends on the seed and the epoch alone.

Of several processes each takes a consecutive share of every batch, as equal as can be. Its loss counts in proportion
to the share's size, so that the mean gradient over the processes is the gradient of the whole batch, the last and
shorter one of an epoch included. What is reported is the mean over the whole batch too. So two processes have the
loss curve of one, but for the order in which numbers are added: a relative 1e-12 in float64, about 1e-5 in float32
after an epoch of MNIST's mlp.

That holds for networks that treat each example by itself. Batch norm sees a process's share alone, as it does in
PyTorch's DistributedDataParallel, and dropout and augmentation draw other random numbers in each process; such
curves agree as two seeds do. A loss that is no mean over the examples, but over those positions that are not ignored,
is weighted by examples all the same.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from experiments import processes
from experiments.settings import Settings
from experiments.training.task import Task

__all__ = ["Batch", "Batches", "order_of_epoch"]


class Batch(NamedTuple):
    """This process's share of a batch.

    Attributes:
        inputs: What goes into the network.
        targets: What should come out.
        weight: By how much the share is larger than the mean one.
    """

    inputs: Tensor
    targets: Tensor
    weight: float


class Batches:
    """Draws batches from a task's training set."""

    def __init__(self, task: Task, settings: Settings) -> None:
        self.task, self.settings = task, settings
        self._order: tuple[int, Tensor] | None = None

    def draw(self, epoch: int, index: int) -> Batch:
        """A batch of an epoch, prepared and augmented."""
        inputs, targets = self.task.train
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, order_of_epoch(self.settings.seed, epoch, len(targets)).to(targets.device)
        start = index * self.settings.batch_size
        batch = self._order[1][start : start + self.settings.batch_size]
        mine = processes.my_part(batch)
        # Who is left without an example takes one that does not count: all must take part in the exchange.
        chosen = mine if len(mine) else batch[:1]
        weight = len(mine) * processes.size() / len(batch)
        return Batch(self.task.augment(self.task.prepare(inputs[chosen])), targets[chosen], weight)


def order_of_epoch(seed: int, epoch: int, examples: int) -> Tensor:
    """The order in which an epoch goes through the examples, the same on every device and in every process.

    It depends on the seed and the epoch alone, so that a checkpoint need not hold the state of a generator.
    """
    generator = torch.Generator().manual_seed(seed)
    epoch_seed = torch.randint(2**63 - 1, (epoch + 1,), generator=generator)[epoch]
    return torch.randperm(examples, generator=generator.manual_seed(int(epoch_seed)))
