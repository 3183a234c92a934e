"""The processes that train together where ``torchrun`` started several; one alone is rank 0 of 1.

Rank 0 is the writer: it alone makes folders, writes files and prints. The others do the same arithmetic on their
share of the data, and hear from it whatever only it can know.
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

from experiments.errors import Bystander, ExperimentError, UsageError

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

TROUBLE = "experiments/trouble"  # in torchrun's store: which process was the first to end with an error


@contextmanager
def joined() -> Iterator[None]:
    """Joins the processes that torchrun started, if it did, for as long as the context lasts.

    Raises:
        Bystander: another process ended first, and has said why.
        ExperimentError: another process ended without a word.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    # Its functions have the default group as a default argument. Imported once that exists, as DistributedDataParallel
    # does through torch's compiler, they would hold it for good.
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
        # Who fails says so before its connections break, which is what the others notice of it.
        if store.compare_set(TROUBLE, "", str(number)).decode() != str(number):
            raise Bystander(getattr(error, "status", ExperimentError.status)) from error
        if isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error)):
            raise ExperimentError("another process of this run was killed; continue with --resume") from error
        raise
    # Gloo's threads end with the last hold on their group, and networks in circles of references have one. A thread
    # that lets go of its last tensor while the interpreter shuts down ends the process with SIGABRT.
    gc.collect()
    dist.destroy_process_group()


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_writer() -> bool:
    """Whether this process is the one that writes."""
    return rank() == 0


def total(figures: Sequence[float]) -> list[float]:
    """The sums of some figures over all processes."""
    if size() == 1:
        return list(figures)
    sums = torch.tensor(figures, dtype=torch.float64)
    dist.all_reduce(sums)
    return sums.tolist()


def expect_one(chapter: str) -> None:
    """Raises UsageError where there are several processes, for a chapter whose steps know of one alone."""
    if size() > 1:
        raise UsageError(f"{chapter}: expected one process, got {size()}; start it without torchrun")


def gather(part: T) -> list[T]:
    """What each process has, in the order of their ranks."""
    if size() == 1:
        return [part]
    parts: list[T] = [part] * size()
    dist.all_gather_object(parts, part)
    return parts


def share(make: Callable[[], T]) -> T:
    """Has the writer make something, and gives it to all."""
    if size() == 1:
        return make()
    box: list[Any] = [make() if is_writer() else None]
    dist.broadcast_object_list(box, device=torch.device("cpu"))
    return box[0]


def share_buffers(module: nn.Module) -> None:
    """Gives all processes the writer's buffers: each kept running statistics of its own share of the data."""
    if size() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)


def writer_first(make: Callable[[], T]) -> T:
    """Makes the same in each process, in the others only when the writer has: what it downloaded is there then."""
    if is_writer():
        made = make()
    if size() > 1:
        share(lambda: None)
    return made if is_writer() else make()


def my_part(tensor: Tensor) -> Tensor:
    """This process's consecutive share of the examples in a tensor; the first processes have one more where need be."""
    return tensor.tensor_split(size())[rank()]
