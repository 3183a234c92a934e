"""The memory that a graph keeps alive for the backward pass, however its Functions keep it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

__all__ = ["SavedMemory", "saving"]


class SavedMemory:
    """Storages by address, so that each counts once."""

    def __init__(self) -> None:
        self.storages: dict[int, int] = {}

    def add(self, tensor: Tensor) -> Tensor:
        """Adds a tensor's storage, if it has one as a sparse one has not, and returns the tensor."""
        if tensor.layout is torch.strided:
            storage = tensor.untyped_storage()
            self.storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    def add_attributes(self, outputs: Iterable[Tensor]) -> None:
        """Adds the tensors that Functions in the graph of some outputs hold as attributes of their ``ctx``."""
        seen, waiting = set(), [y.grad_fn for y in outputs]
        while waiting:
            node = waiting.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            for value in tree_leaves(getattr(node, "__dict__", {})):
                if isinstance(value, Tensor):
                    self.add(value)
            waiting += [below for below, _ in node.next_functions]

    def beyond(self, tensors: Iterable[Tensor]) -> int:
        """Bytes of the storages that belong to none of the tensors."""
        known = {x.untyped_storage().data_ptr() for x in tensors if x.layout is torch.strided}
        return sum(size for place, size in self.storages.items() if place not in known)


@contextmanager
def saving() -> Iterator[SavedMemory]:
    """Collects what is saved for the backward pass meanwhile, where a Function saves it as it should."""
    saved = SavedMemory()
    with torch.autograd.graph.saved_tensors_hooks(saved.add, lambda tensor: tensor):
        yield saved
