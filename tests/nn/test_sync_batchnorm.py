"""Two processes normalize as one process does that has the batches of both."""

from __future__ import annotations

import os
import socket

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing

from scratchnet import nn


def batches() -> torch.Tensor:
    return torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 100


def steps(layer: torch.nn.Module, x: torch.Tensor, upstream: torch.Tensor) -> list[torch.Tensor]:
    x = x.clone().requires_grad_()
    y = layer(x)
    (grad,) = torch.autograd.grad(y, x, upstream, create_graph=True)
    (second,) = torch.autograd.grad(grad, x, upstream.sin(), retain_graph=True)
    y.backward(upstream)
    return [y.detach(), x.grad, second, layer.weight.grad, layer.bias.grad, layer.running_mean, layer.running_var]


def process(rank: int, port: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    layer = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.BatchNorm1d(3).double()))[0]
    assert type(layer) is nn.SyncBatchNorm
    part = slice(0, 2) if rank == 0 else slice(2, 5)
    torch.save(steps(layer, batches()[part], batches().cos()[part]), f"{folder}/{rank}.pt")
    dist.barrier()
    os._exit(0)  # gloo's threads can end the interpreter with SIGABRT, or wait for it forever


@pytest.mark.slow
def test_two_processes_normalize_as_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(process, (port, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    expected = steps(torch.nn.BatchNorm1d(3).double(), batches(), batches().cos())
    for i, (a, b) in enumerate(zip(first, second, strict=True)):
        whole = torch.cat((a, b)) if i < 3 else a + b if i < 5 else a
        torch.testing.assert_close(whole, expected[i], rtol=1e-9, atol=1e-11)


def test_one_process_normalizes_as_batch_norm():
    expected = steps(torch.nn.BatchNorm1d(3).double(), batches(), batches().cos())
    for one, other in zip(steps(nn.SyncBatchNorm(3).double(), batches(), batches().cos()), expected, strict=True):
        torch.testing.assert_close(one, other)
