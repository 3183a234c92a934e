"""Tensors that are spread over processes or hidden in a subclass, as plain ones.

The figures of a sharded parameter are those of the full tensor, which takes a collective, and a collective waits
for all processes. So it is made only where each process has a monitor, which `all_watch` finds out.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = ["Unreadable", "all_watch", "is_sharded", "plain"]

PATIENCE = 10.0  # seconds for the monitors of the other processes to come
_monitors = itertools.count()


class Unreadable(Exception):
    """Why the numbers of a tensor cannot be read."""


def is_sharded(tensor: Tensor) -> bool:
    """Whether a tensor is a DTensor, without the second that it takes to import the class."""
    return type(tensor) is not Tensor and hasattr(tensor, "full_tensor")


def all_watch(module: nn.Module, every: int, start_step: int) -> bool:
    """Whether each process makes a monitor of sharded parameters now; all processes get the same answer.

    The processes meet at the store of the default process group, which needs no collective. The first of them that
    knows writes the answer, and the others take it from there.
    """
    if not any(is_sharded(parameter) for parameter in module.parameters()):
        return False
    if (world := dist.get_world_size()) == 1:
        return True
    if (store := dist.distributed_c10d._get_default_store()) is None:
        return False  # as MPI has none
    key = f"scratchnet.monitor/{next(_monitors)}/{every}/{start_step}"
    arrived, deadline = store.add(key, 1), time.monotonic() + PATIENCE
    while arrived < world and time.monotonic() < deadline:
        time.sleep(0.01)
        arrived = store.add(key, 0)
    answer = "all" if arrived == world else "some"
    return bool(store.compare_set(f"{key}/answer", "", answer) == b"all")


def plain(tensor: Tensor, whole: bool) -> Tensor:
    """The tensor without its subclass; of a sharded one all of it, by a collective, or this process's part.

    Raises:
        Unreadable: If it has no numbers to be read.
    """
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        raise Unreadable("inside torch.func")
    inner: Any = tensor.detach()
    if is_sharded(inner):
        inner = inner.full_tensor() if whole else inner.to_local()
    if type(inner) is not Tensor:
        if hasattr(inner, "trigger_wait"):
            inner = inner.trigger_wait()  # the result of a collective that is still under way
        if type(inner).__torch_dispatch__ is not torch._C._disabled_torch_dispatch_impl:
            raise Unreadable(f"the numbers of a {type(inner).__name__} cannot be read")
        inner = inner.as_subclass(Tensor)
    if inner.is_meta:
        raise Unreadable("on the meta device")
    return inner
