"""Cache blocking of elementwise mathematics.

A chain of operations on large tensors goes to memory and back at each of them. `tilewise` runs the chain to its end
on one tile before it takes up the next: what the operations hand on to each other stays in the cache, and memory is
read once and written once. A tile is large enough to be shared among all threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from scratchnet.layout import empty_beside
from scratchnet.tiling.program import ELEMENTS, Program, record
from scratchnet.tiling.recorder import BITS

__all__ = ["run", "tiles", "tilewise"]

# Elements of a tile: in float32 256 KiB for each tensor that takes part, a few of which a second-level cache holds. Of
# several threads each gets one MiB, since they wait for each other after each step.
ALONE, PER_THREAD = 2**16, 2**18


def tilewise(
    function: Callable[..., Tensor],
    tensors: Sequence[Tensor],
    options: dict[str, Any],
    out: Tensor | None = None,
    like: Sequence[Tensor] | None = None,
) -> Tensor | None:
    """``function(*tensors, **options)``, which acts on each element; None where tiles are of no use.

    The result has the strides of an elementwise operation on ``like`` or else the tensors, or lies in ``out``.
    """
    first = tensors[0]
    dtype = first.dtype
    for t in tensors:
        if type(t) is not Tensor or t.dtype is not dtype or not t.is_cpu or not t.is_same_size(first):
            return None
    program = _program(function, len(tensors), dtype, tuple(options.items()))
    if program is None:
        return None
    output = empty_beside(like or tensors) if out is None else out
    if output.numel():
        run(program, tensors, output)
    return output


@lru_cache(maxsize=512)
def _program(
    function: Callable[..., Any], tensors: int, dtype: torch.dtype, options: tuple[tuple[str, Any], ...]
) -> Program | None:
    """Returns the program of a function that acts on each element, None if it has none."""
    computed = torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
    if computed not in BITS:
        return None
    program = record(function, (ELEMENTS,) * tensors, (computed,) * tensors, options)
    if program is None or not program.outputs or program.registers[0] != ELEMENTS or program.whole:
        return None
    return program


def run(program: Program, tensors: Sequence[Tensor], output: Tensor) -> None:
    """Runs a program on tensors of the output's shape, and writes what it computes to the output, in its dtype."""
    threads = torch.get_num_threads()
    size = ALONE if threads == 1 else PER_THREAD * threads
    if output.dtype in BITS:
        _run(program, tensors, output, size)
    elif output.numel() <= size:
        wide = torch.empty_like(output, dtype=torch.float32)
        _run(program, [t.float() for t in tensors], wide, size)
        output.copy_(wide)
    else:
        memory = [output.new_empty(size, dtype=torch.float32) for _ in range(1 + len(tensors))]
        for out, *inputs in tiles([output, *tensors], size):
            wide, *widened = [t[: out.numel()].view(out.shape) for t in memory]
            _run(program, [w.copy_(x) for w, x in zip(widened, inputs, strict=True)], wide, size)
            out.copy_(wide)


def _run(program: Program, tensors: Sequence[Tensor], output: Tensor, size: int) -> None:
    if output.numel() <= size:
        if len(program.registers) == 1:
            program.run(*tensors, output)
        else:
            program.run(*tensors, output, *[torch.empty_like(output) for _ in program.registers[1:]])
        return
    scratch = [output.new_empty(size) for _ in program.registers[1:]]
    for out, *inputs in tiles([output, *tensors], size):
        program.run(*inputs, out, *[t[: out.numel()].view(out.shape) for t in scratch])


def tiles(tensors: Sequence[Tensor], size: int) -> Iterator[Sequence[Tensor]]:
    """Tensors of one shape, cut alike into pieces of at most ``size`` elements, in the memory order of the first."""
    return _cut(_collapsed(tensors), size)


def _cut(tensors: Sequence[Tensor], size: int) -> Iterator[Sequence[Tensor]]:
    count = tensors[0].numel()
    if count <= size:
        yield tensors
        return
    row = count // tensors[0].shape[0]
    if row <= size:
        yield from zip(*(t.split(size // row) for t in tensors), strict=True)
        return
    for rows in zip(*(t.unbind() for t in tensors), strict=True):
        yield from _cut(rows, size)


def _collapsed(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """Views with as few dimensions as the strides of all tensors allow."""
    if all(t.is_contiguous() for t in tensors):
        return [t.view(-1) for t in tensors]
    first = tensors[0]
    shape: list[int] = []
    strides: list[list[int]] = [[] for _ in tensors]
    for d in sorted(range(first.dim()), key=first.stride, reverse=True):
        if first.shape[d] == 1:
            continue
        if shape and all(s[-1] == t.stride(d) * t.shape[d] for s, t in zip(strides, tensors, strict=True)):
            shape[-1] *= first.shape[d]
            for s, t in zip(strides, tensors, strict=True):
                s[-1] = t.stride(d)
        else:
            shape.append(first.shape[d])
            for s, t in zip(strides, tensors, strict=True):
                s.append(t.stride(d))
    return [t.as_strided(shape, s) for t, s in zip(tensors, strides, strict=True)]
