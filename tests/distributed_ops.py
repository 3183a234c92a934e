"""Compares the ops of a transformer on distributed tensors with plain ones; run by `test_distributed`."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as plain
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import Placement, Replicate, Shard, distribute_tensor

from scratchnet import functional

WHOLE = Replicate()
generator = torch.Generator().manual_seed(0)


def normal(*shape: int) -> Tensor:
    """Returns random values, the same in each process."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


class Case(NamedTuple):
    """A call on distributed tensors, with their placements and an optional constant."""

    call: Callable[..., Tensor]
    inputs: tuple[tuple[Tensor, Placement], ...]
    constant: tuple[Tensor, Placement] | None = None


x, h, q = normal(2, 4, 8), normal(2, 4, 16), normal(2, 4, 6, 8)
w, b, back = normal(16, 8), normal(16), normal(8, 16)
image, kernel, scores, rows = normal(2, 3, 6, 6), normal(4, 3, 3, 3), normal(8, 16), normal(10, 8)
labels, words = torch.arange(8), torch.tensor([[0, 9, 3, 3], [5, 1, 4, 9]])
norm = (x, Shard(1)), (normal(8), WHOLE)

CASES = {
    "column-wise linear": Case(lambda F, *t: F.linear(*t), ((x, WHOLE), (w, Shard(0)), (b, Shard(0)))),
    "row-wise linear": Case(lambda F, *t: F.linear(*t), ((h, Shard(2)), (back, Shard(1)), (normal(8), WHOLE))),
    "linear of sequences": Case(lambda F, *t: F.linear(*t), ((x, Shard(1)), (w, WHOLE), (b, WHOLE))),
    "linear of a batch": Case(lambda F, *t: F.linear(*t), ((x, Shard(0)), (w, WHOLE))),
    "layer norm": Case(lambda F, x, w, b: F.layer_norm(x, (8,), w, b), (*norm, (normal(8), WHOLE))),
    "RMS norm": Case(lambda F, x, w: F.rms_norm(x, (8,), w), norm),
    "batch norm": Case(lambda F, x: F.batch_norm(x, None, None, training=True), ((image, WHOLE),)),
    "group norm": Case(lambda F, x: F.group_norm(x, 3), ((image, WHOLE),)),
    "embedding": Case(lambda F, w, i: F.embedding(i, w), ((rows, WHOLE),), (words, WHOLE)),
    "column-wise embedding": Case(lambda F, w, i: F.embedding(i, w), ((rows, Shard(1)),), (words, WHOLE)),
    "row-wise embedding": Case(lambda F, w, i: F.embedding(i, w), ((rows, Shard(0)),), (words, WHOLE)),
    "attention": Case(lambda F, *t: F.scaled_dot_product_attention(*t), ((q, Shard(1)),) * 3),
    "causal attention": Case(
        lambda F, *t: F.scaled_dot_product_attention(*t, is_causal=True), ((q, Shard(1)),) * 3
    ),
    "softmax": Case(lambda F, x: F.softmax(x, -1), ((x, Shard(1)),)),
    "softmax along the sharded dimension": Case(lambda F, x: F.softmax(x, -1), ((x, Shard(2)),)),
    "log softmax": Case(lambda F, x: F.log_softmax(x, -1), ((x, Shard(0)),)),
    "cross entropy": Case(lambda F, x, t: F.cross_entropy(x, t), ((scores, WHOLE),), (labels, WHOLE)),
    "cross entropy of a batch": Case(
        lambda F, x, t: F.cross_entropy(x, t), ((scores, Shard(0)),), (labels, Shard(0))
    ),
    "mean squared error": Case(lambda F, x, t: F.mse_loss(x, t), ((h, Shard(2)),), (2 * h, Shard(2))),
    "conv2d": Case(lambda F, *t: F.conv2d(*t), ((image, WHOLE), (kernel, WHOLE))),
    "conv2d of a batch": Case(lambda F, *t: F.conv2d(*t), ((image, Shard(0)), (kernel, WHOLE))),
    "max pooling": Case(lambda F, x: F.max_pool2d(x, 2), ((image, WHOLE),)),
    **{
        name: Case(lambda F, x, name=name: getattr(F, name)(x), ((h, Shard(2)),))
        for name in ("relu", "gelu", "silu", "tanh", "sigmoid")
    },
}


def results(call: Callable[..., Tensor], F: Any, inputs: list[Tensor], constant: list[Tensor]) -> list[Tensor]:
    """Returns the output and the gradients of a call as plain tensors."""
    y = call(F, *inputs, *constant)
    if any(p.is_partial() for p in getattr(y, "placements", ())):
        y = y.redistribute(placements=[WHOLE])
    y = y.full_tensor() if hasattr(y, "full_tensor") else y
    (y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape)).sum().backward()
    return [g.full_tensor() if hasattr(g, "full_tensor") else g for g in (y.detach(), *(x.grad for x in inputs))]


def distribute(tensor: Tensor, placement: Placement, mesh: DeviceMesh, grad: bool) -> Tensor:
    return distribute_tensor(tensor, mesh, [placement]).detach().requires_grad_(grad)


def main(rank: int, world: int, meeting: str) -> None:
    """Compares each case with the built-in on plain tensors."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    mesh = init_device_mesh("cpu", (world,))
    for name, case in CASES.items():
        constant = [] if case.constant is None else [case.constant]
        ours = results(
            case.call,
            functional,
            [distribute(*t, mesh, True) for t in case.inputs],
            [distribute(*t, mesh, False) for t in constant],
        )
        theirs = results(
            case.call, plain, [t.clone().requires_grad_() for t, _ in case.inputs], [t for t, _ in constant]
        )
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, msg=lambda m, name=name: f"{name}: {m}")
    dist.barrier()
    print(len(CASES), "agree", flush=True)
    os._exit(0)  # gloo's threads can end the interpreter with SIGABRT


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
