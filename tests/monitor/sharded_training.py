"""What each process of `test_sharded_parameters` runs: a training on the same batches, watched by the first one."""

from __future__ import annotations

import os
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

from scratchnet.monitor import Monitor, processes


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv1d(1, 3, 3)  # three filters on two processes: parts of different sizes
        self.up, self.relu, self.down = nn.Linear(18, 10), nn.ReLU(), nn.Linear(10, 6)

    def forward(self, x):
        return self.down(self.relu(self.up(self.convolution(x).flatten(1))))


def distribute(model, how, world):
    if how == "plain":
        return model
    if how == "replicated":
        return DistributedDataParallel(model)
    mesh = init_device_mesh("cpu", (world,))
    if how.startswith("sharded"):
        fully_shard(model.up, mesh=mesh)
        return fully_shard(model, mesh=mesh)
    return parallelize_module(model, mesh, {"up": ColwiseParallel(), "down": RowwiseParallel()})


def main(how, rank, world, meeting, folder):
    torch.manual_seed(0)
    if how != "plain":
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    model = distribute(Model(), how, world)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    processes.PATIENCE = 0.5 if how == "sharded, watched by one" else 60
    monitor = None
    if rank == 0 or how != "sharded, watched by one":
        monitor = Monitor(model, optimizer, folder if rank == 0 else None, every=2)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.randn(4, 1, 8)).square().mean()
        loss.backward()
        optimizer.step()
        if monitor is not None:
            monitor.step(loss=loss)
    if monitor is not None:
        monitor.close()
    if how != "plain":
        dist.barrier()  # stays until every process is done
        os._exit(0)  # gloo's threads can end the interpreter with SIGABRT, or wait for it forever


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
