"""Cache blocking of mathematics with reductions along dimensions.

`tile_rows` runs all steps of a formula on one tile before it takes up the next, as `tilewise` does. A tile holds whole
rows: it is cut along other dimensions than those that the formula reduces.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from scratchnet.tiling.program import Program, Structure, record
from scratchnet.tiling.recorder import BITS, Shape

__all__ = ["tile_rows"]

# Elements of all the tensors and registers of a tile together, for each thread: in float32 4 MiB, of which each step
# reads and writes a part that a second-level cache holds.
PER_THREAD = 2**20
# Elements that lie side by side in a tile at least: shorter runs waste more than the cache saves.
RUN = 256
# Elements up to which the plain form is faster: what it allocates stays in the cache anyway.
SMALL = 2**15

LABELS = (torch.int64, torch.bool)
ORDINARY = (Tensor, nn.Parameter)
Maybe = Tensor | None


class Plan(NamedTuple):
    """A program for tensors of known shapes: their common shape, the order in which to cut it, and the registers'.

    ``elements`` counts those of all tensors and registers; ``like`` is the place of a tensor of the program's dtype.
    ``heirs`` pairs outputs with the tensors whose memory they may take.
    """

    program: Program
    shape: Shape
    elements: int
    cuts: tuple[int, ...]
    outputs: tuple[Shape, ...]
    scratch: tuple[Shape, ...]
    like: int
    heirs: tuple[tuple[int, int], ...]


def tile_rows(
    function: Callable[..., Any], *tensors: Maybe, overwritten: tuple[int, ...] = (), **options: Any
) -> Any:
    """Returns ``function(*tensors, **options)``, or NotImplemented where tiles are of no use.

    The tensors broadcast to the shape of one of them. They are numbers of one dtype, besides masks and the indices of
    ``scatter_add``. The function returns a tensor or tuples of tensors and None; new outputs are contiguous, and may
    lie in the memory of the tensors at the places ``overwritten``.
    """
    for t in tensors:
        if t is not None and t.numel() > SMALL:
            break
    else:
        return NotImplemented
    given = tuple([None if t is None else (t.shape, t.dtype, type(t), t.is_cpu) for t in tensors])
    plan = _plan(function, given, overwritten, tuple(options.items()))
    if plan is None:
        return NotImplemented
    memory = tensors[plan.like].new_empty  # type: ignore[union-attr]
    heirs = {out: t for out, i in plan.heirs if (t := tensors[i]) is not None and t.is_contiguous()}
    outputs = [heirs[i] if i in heirs else memory(shape) for i, shape in enumerate(plan.outputs)]
    if not plan.cuts or plan.elements <= PER_THREAD * torch.get_num_threads():
        plan.program.run(*tensors, *outputs, *map(memory, plan.scratch))
    else:
        _run_in_tiles(plan, tensors, outputs)
    return _built(plan.program.structure, outputs, tensors)


@lru_cache(maxsize=2048)
def _plan(
    function: Callable[..., Any],
    given: tuple[tuple[Shape, torch.dtype, type, bool] | None, ...],
    overwritten: tuple[int, ...],
    options: tuple[tuple[str, Any], ...],
) -> Plan | None:
    """Returns the plan for tensors of these shapes, dtypes, types and whether they are the CPU's; None if none fits."""
    shapes = [None if t is None else t[0] for t in given]
    dtypes = tuple(None if t is None else t[1] for t in given)
    numbers = {d for d in dtypes if d in BITS}
    if len(numbers) != 1 or any(
        t and not (t[1] in {*numbers, *LABELS} and t[2] in ORDINARY and t[3]) for t in given
    ):
        return None
    full = max((tuple(s) for s in shapes if s is not None), key=lambda s: (math.prod(s), len(s)))
    known = [None if s is None else _rehearsed(s, full) for s in shapes]
    if 0 in full or any(k is None and s is not None for k, s in zip(known, shapes, strict=True)):
        return None
    program = record(function, tuple(known), dtypes, options)
    if program is None:
        return None
    cuts = [d for d in range(-len(full), 0) if d not in program.whole and full[d] > 1]
    if not any((program.whole, *program.added)):  # first along what most tensors have, which are then read once
        cuts.sort(key=lambda d: sum(k is not None and (len(k) < -d or k[d] == 1) for k in known))
    registers = tuple(_actual(r, full) for r in program.registers)
    outputs, scratch = registers[: program.outputs], registers[program.outputs :]
    like = next(i for i, d in enumerate(dtypes) if d in BITS)
    heirs: dict[int, int] = {}
    for out, i in program.heirs:
        if (
            i in overwritten
            and dtypes[i] in BITS
            and shapes[i] == full == outputs[out]
            and i not in heirs.values()
        ):
            heirs.setdefault(out, i)
    elements = sum(map(math.prod, (*registers, *(s for s in shapes if s is not None)))) - len(heirs) * math.prod(
        full
    )
    return Plan(program, full, elements, tuple(cuts), outputs, scratch, like, tuple(heirs.items()))


def _rehearsed(shape: Shape, full: Shape) -> Shape | None:
    """Returns 2 for each dimension that a tensor has in full and 1 where it broadcasts, None if it does not."""
    if len(shape) > len(full):
        return None
    whole = full[len(full) - len(shape) :]
    if any(size not in (1, most) for size, most in zip(shape, whole, strict=True)):
        return None
    return tuple(2 if size == most else 1 for size, most in zip(shape, whole, strict=True))


def _actual(rehearsed: Shape, full: Shape) -> Shape:
    """Returns the shape of a value among tensors of a full shape."""
    whole = full[len(full) - len(rehearsed) :]
    return tuple(1 if size == 1 else most for size, most in zip(rehearsed, whole, strict=True))


def _run_in_tiles(plan: Plan, tensors: Sequence[Maybe], outputs: Sequence[Tensor]) -> None:
    """Runs a program tile by tile, and writes what it computes to the outputs."""
    program, inputs = plan.program, len(tensors)
    sums = {
        i: outputs[i].new_zeros(outputs[i].shape, dtype=torch.float64)
        for i, dims in enumerate(program.added)
        if dims.intersection(plan.cuts)
    }
    places = [sums.get(i, out) for i, out in enumerate(outputs)]
    known: Shape = ()
    size = PER_THREAD * torch.get_num_threads() * math.prod(plan.shape) // plan.elements
    for shape, tile in _tiles([*tensors, *places], plan.shape, plan.cuts, size):
        if shape != known:
            known = shape
            scratch = [outputs[0].new_empty(_actual(r, shape)) for r in program.registers[len(outputs) :]]
        memory = [*tile, *scratch]
        for i in sums:
            memory[inputs + i] = outputs[i].new_empty(tile[inputs + i].shape)
        program.run(*memory)
        for i in sums:
            tile[inputs + i].add_(memory[inputs + i])
    for i, total in sums.items():
        outputs[i].copy_(total)


def _tiles(
    tensors: Sequence[Maybe], shape: Shape, cuts: Sequence[int], size: int
) -> Iterator[tuple[Shape, Sequence[Any]]]:
    """Cuts tensors that broadcast to a shape alike, along some dimensions, into tiles of about ``size`` elements."""
    count = math.prod(shape)
    if count <= size or not cuts:
        yield shape, tensors
        return
    dim, *others = cuts
    before, after = shape[:dim], shape[len(shape) + dim + 1 :]
    most = size * shape[dim] // count
    most -= most % 16 if most > 16 else 0  # tiles that begin where a cache line does
    most = max(most, -(-RUN // math.prod(after)))
    pieces = [
        repeat(t) if t is None or t.dim() < -dim or t.shape[dim] == 1 else t.split(most, dim) for t in tensors
    ]
    for start, *tile in zip(range(0, shape[dim], most), *pieces, strict=False):
        yield from _tiles(tile, (*before, min(most, shape[dim] - start), *after), others, size)


def _built(structure: Structure, outputs: Sequence[Tensor], tensors: Sequence[Maybe]) -> Any:
    """Returns what the function would return."""
    if structure is None:
        return None
    if isinstance(structure, int):
        return outputs[structure] if structure >= 0 else tensors[-1 - structure]
    return tuple([_built(s, outputs, tensors) for s in structure])
