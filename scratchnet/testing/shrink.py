"""The smallest call that still shows a disagreement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from scratchnet.testing.subject import Call, mapped

__all__ = ["shrink"]

ATTEMPTS = 80


def shrink(call: Call, shows: Callable[[Call], bool]) -> Call:
    """Halves dimensions, then drops single elements, as long as the call still shows what it should."""
    left = ATTEMPTS
    progress = True
    while progress and left > 0:
        progress = False
        for smaller in _smaller(call):
            left -= 1
            if shows(smaller):
                call, progress = smaller, True
                break
            if left <= 0:
                break
    return call


def _smaller(call: Call) -> Iterator[Call]:
    """Calls in which one size is less: wherever it occurs among the arguments, then in one argument alone."""
    tensors = call.tensors(parameters=False)
    sizes = sorted({n for x in tensors for n in x.shape if n > 1}, reverse=True)
    for less in (_half, _one_less):
        for size in sizes:
            yield _mapped(call, partial(_cut_everywhere, size, less(size)))
        for place, x in enumerate(tensors):
            for dim in range(x.dim()):
                if x.shape[dim] > 1:
                    yield _mapped(call, partial(_cut_one, place, dim, less(x.shape[dim])))


def _half(size: int) -> int:
    return size // 2


def _one_less(size: int) -> int:
    return size - 1


def _cut_everywhere(size: int, less: int, x: Tensor, place: int) -> Tensor:
    for dim in range(x.dim()):
        if x.shape[dim] == size:
            x = x.narrow(dim, 0, less)
    return x


def _cut_one(chosen: int, dim: int, less: int, x: Tensor, place: int) -> Tensor:
    return x.narrow(dim, 0, less) if place == chosen else x


def _mapped(call: Call, change: Callable[[Tensor, int], Tensor]) -> Call:
    count = -1

    def apply(x: Any) -> Any:
        nonlocal count
        if not isinstance(x, Tensor):
            return x
        count += 1
        if x.layout is not torch.strided:
            return x
        small = change(x.detach(), count)
        return (small.contiguous() if x.is_contiguous() else small).requires_grad_(x.requires_grad)

    inputs = mapped(apply, call.inputs)
    options = {name: mapped(apply, x) for name, x in call.options.items()}
    return Call(inputs, options, call.parameters, call.buffers, call.seed)
