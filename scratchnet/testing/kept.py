"""The memory that a graph keeps alive for the backward pass, however its Functions keep it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

__all__ = ["Kept", "keeping"]


class Kept:
    """Pieces of memory by where they lie, so that each counts once."""

    def __init__(self) -> None:
        self.pieces: dict[int, int] = {}

    def add(self, tensor: Tensor) -> Tensor:
        """Takes down where a tensor lies, and returns it."""
        storage = tensor.untyped_storage()
        self.pieces[storage.data_ptr()] = storage.nbytes()
        return tensor

    def add_attributes(self, outputs: Iterable[Tensor]) -> None:
        """Takes down the tensors that Functions in the graph of some outputs keep as attributes of their ``ctx``."""
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
        """Bytes of the pieces in which none of the tensors lies."""
        known = {x.untyped_storage().data_ptr() for x in tensors}
        return sum(size for place, size in self.pieces.items() if place not in known)


@contextmanager
def keeping() -> Iterator[Kept]:
    """Takes down what is saved for the backward meanwhile, where a Function saves it as it should."""
    kept = Kept()
    with torch.autograd.graph.saved_tensors_hooks(kept.add, lambda tensor: tensor):
        yield kept
