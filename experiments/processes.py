"""Communication between the processes that ``torchrun`` starts; a single process is rank 0 of 1.

Rank 0 is the writer: only it makes folders, writes files and prints. All processes do the same work on their share
of the data.
"""

from __future__ import annotations

import gc
import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from experiments.errors import ExperimentError, PeerError, UsageError

__all__ = [
    "expect_one",
    "gather",
    "is_writer",
    "joined",
    "my_part",
    "rank",
    "share",
    "share_buffers",
    "size",
    "total",
    "writer_first",
]

T = TypeVar("T")

FAILED = "experiments/trouble"  # key in torchrun's store: the rank that failed first


@contextmanager
def joined() -> Iterator[None]:
    """Joins the processes that torchrun started, if any, until the context exits.

    Raises:
        PeerError: Another process failed first and has printed why.
        ExperimentError: Another process was killed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    # Import before the default group exists: its functions take the group as a default argument, and would otherwise
    # keep it alive.
    importlib.import_module("torch.distributed.nn.functional")
    on_gpus = torch.cuda.is_available()
    if on_gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    store, number, count = next(dist.rendezvous("env://"))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpus else "gloo", store=store, rank=number, world_size=count
    )
    try:
        with open(os.devnull, "w") as nowhere, nullcontext() if is_writer() else redirect_stdout(nowhere):
            yield
    except SystemExit:
        raise
    except BaseException as error:
        # Record the failure before the connections break, which makes the other processes fail too.
        if store.compare_set(FAILED, "", str(number)).decode() != str(number):
            raise PeerError(getattr(error, "status", ExperimentError.status)) from error
        if isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error)):
            raise ExperimentError("another process of this run was killed; continue with --resume") from error
        raise
    # Collect reference cycles that keep the group alive: a thread of gloo's that frees its last tensor while the
    # interpreter shuts down aborts the process.
    gc.collect()
    dist.destroy_process_group()


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """Returns the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_writer() -> bool:
    return rank() == 0


def total(values: Sequence[float]) -> list[float]:
    """Sums each value over all processes."""
    if size() == 1:
        return list(values)
    sums = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(sums)
    return sums.tolist()


def expect_one(chapter: str) -> None:
    """Raises UsageError if several processes run a chapter that supports one."""
    if size() > 1:
        raise UsageError(f"{chapter}: expected one process, got {size()}; start it without torchrun")


def gather(part: T) -> list[T]:
    """Returns the objects of all processes, ordered by rank."""
    if size() == 1:
        return [part]
    parts: list[T] = [part] * size()
    dist.all_gather_object(parts, part)
    return parts


def share(make: Callable[[], T]) -> T:
    """Calls ``make`` in the writer only, and returns its result in all processes."""
    if size() == 1:
        return make()
    box: list[Any] = [make() if is_writer() else None]
    dist.broadcast_object_list(box, device=torch.device("cpu"))
    return box[0]


def share_buffers(module: nn.Module) -> None:
    """Copies the writer's buffers to all processes, whose running statistics differ."""
    if size() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)


def writer_first(make: Callable[[], T]) -> T:
    """Calls ``make`` in the writer first, then in the others, which find the files that it downloaded."""
    if is_writer():
        made = make()
    if size() > 1:
        share(lambda: None)
    return made if is_writer() else make()


def my_part(tensor: Tensor) -> Tensor:
    """Returns this process's consecutive share of the rows; shares differ by at most one row."""
    return tensor.tensor_split(size())[rank()]
