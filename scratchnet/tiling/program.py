"""Mathematics on elements and rows as a program: its steps, recorded once, with their memory planned.

An author writes ``torch.where(x > 0, x, slope * x)``. Run as it stands, each operation makes a tensor, which for
large ones costs more than the arithmetic. Here each result gets a register: memory that is used again as soon as
nobody needs what it held. The first registers are the outputs' memory, where many programs find all that they need.

A reduction whose result the function goes on with, as softmax does with a row's maximum, needs its dimensions whole.
A sum that is only returned, as the gradient of a weight that all rows share, may be added up tile by tile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scratchnet.tiling.recorder import BITS, REDUCTIONS, Line, Recorder, Shape, Unrecordable, Value

__all__ = ["Program", "Step", "record", "rehearsing"]

Dims = frozenset[int]
Structure = Any
ELEMENTS = (2,)


class Step(NamedTuple):
    """One operation, ``function(*reads, out=write, **options)``, on places of the program's memory."""

    function: Callable[..., Any]
    reads: tuple[int, ...]
    write: int
    options: dict[str, Any]


@dataclass(frozen=True)
class Program:
    """The steps of a function of some tensors.

    Its memory has a place for each of the tensors, the registers, the numbers and the views, in this order. A view
    is a place whose bits are taken for integers. The first registers are the outputs. ``run(*tensors, *registers)``
    runs the steps.

    ``registers`` holds their shapes in the rehearsal: 2 along a dimension that the register has, else 1. Dimensions
    count from the last, as -1. Those in ``whole`` must not be cut; the outputs are added up along those in ``added``.
    ``structure`` is what the function returns, with output ``i`` as ``i`` and tensor ``i`` as ``-1 - i``. ``heirs``
    pairs outputs with tensors that no step reads once the output's memory is written.
    """

    run: Callable[..., None]
    steps: tuple[Step, ...]
    registers: tuple[Shape, ...]
    whole: Dims
    added: tuple[Dims, ...]
    structure: Structure
    heirs: tuple[tuple[int, int], ...]

    @property
    def outputs(self) -> int:
        """The number of outputs."""
        return len(self.added)


class _Thread(threading.local):
    rehearsing = False


_thread = _Thread()


def rehearsing() -> bool:
    """Whether this thread is recording a program."""
    return _thread.rehearsing


@lru_cache(maxsize=512)
def record(
    function: Callable[..., Any],
    shapes: Sequence[Shape | None],
    dtypes: Sequence[torch.dtype | None],
    options: tuple[tuple[str, Any], ...],
) -> Program | None:
    """Returns the program of ``function(*tensors, **options)``, None if it has none.

    The shapes are those of the tensors in the rehearsal, and None for a tensor that is None. The function returns a
    tensor or tuples of tensors and None. It computes in the floating-point dtype among those of the tensors.
    """
    recorder = Recorder(next(dtype for dtype in dtypes if dtype in BITS))
    inputs = [
        None if shape is None or dtype is None else recorder.input(i, shape, dtype)
        for i, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=True))
    ]
    outputs: list[Value] = []

    def structure(result: Any, nested: bool = True) -> Structure:
        if result is None or isinstance(result, tuple):
            return result and tuple(map(structure, result))
        value = recorder.result(result)
        if value.kind == "tensor" and nested:
            return -1 - value.number
        if value.kind != "line":
            value = recorder.copy(value)
        if value not in outputs:
            outputs.append(value)
        return outputs.index(value)

    _thread.rehearsing = True
    try:
        with torch.no_grad(), recorder:
            result = function(*inputs, **dict(options))
        found = structure(result, nested=False)
        return _planned(recorder, outputs, len(shapes), found)
    except Unrecordable:
        return None
    finally:
        _thread.rehearsing = False


def _planned(recorder: Recorder, outputs: Sequence[Value], tensors: int, structure: Structure) -> Program:
    """Chooses the lines that the outputs need, with a place for each value."""
    lines, numbers = list(recorder.lines), tuple(recorder.numbers)
    last = {output.number: len(lines) for output in outputs}  # the last line that reads a line, for those needed
    for i in range(len(lines) - 1, -1, -1):
        for read, _ in lines[i].reads if i in last else ():
            if read.kind == "line":
                last.setdefault(read.number, i)
    register, registers = _registers(lines, recorder.shapes, [output.number for output in outputs], last)
    reduced = {i: _reduced(recorder, lines[i]) for i in last if "dim" in dict(lines[i].options)}
    views: list[int] = []

    def place(value: Value, bits: bool) -> int:
        base = {"tensor": 0, "line": tensors, "number": tensors + len(registers)}[value.kind]
        here = base + (register[value.number] if value.kind == "line" else value.number)
        if not bits:
            return here
        if here not in views:
            views.append(here)
        return tensors + len(registers) + len(numbers) + views.index(here)

    steps = tuple(
        Step(
            lines[i].function,
            tuple(place(*r) for r in lines[i].reads),
            place(Value("line", i), lines[i].bits),
            dict(lines[i].options),
        )
        for i in sorted(last)
    )
    read_on = {read.number for i in last for read, _ in lines[i].reads if read.kind == "line"}
    needed = (dims for i, dims in reduced.items() if i in read_on or lines[i].function is not torch.sum)
    whole = frozenset[int]().union(*needed)
    added = tuple(reduced.get(output.number, frozenset()) - whole for output in outputs)
    run = _compiled(steps, tensors + len(registers), numbers, views)
    bases = [*range(tensors + len(registers) + len(numbers)), *views]
    heirs = tuple(_heirs(steps, bases, tensors, len(outputs)))
    return Program(run, steps, registers, whole, added, structure, heirs)


def _heirs(steps: Sequence[Step], bases: Sequence[int], tensors: int, outputs: int) -> Iterator[tuple[int, int]]:
    """Pairs outputs with tensors that no step reads once the output's memory is written."""
    for i in range(tensors):
        last = max((n for n, step in enumerate(steps) if i in [bases[place] for place in step.reads]), default=-1)
        for out in range(outputs):
            first = next(n for n, step in enumerate(steps) if bases[step.write] == tensors + out)
            if first > last or (first == last and steps[first].function not in REDUCTIONS.values()):
                yield out, i


def _compiled(
    steps: Sequence[Step], given: int, numbers: Sequence[Tensor], views: Sequence[int]
) -> Callable[..., None]:
    """Makes a Python function of the steps, which takes less time than a loop over them: one call a line."""
    names: dict[str, Any] = {"BITS": BITS}

    names |= {f"m{given + i}": number for i, number in enumerate(numbers)}
    lines = [f"def run({', '.join(f'm{i}' for i in range(given))}):"]
    for i, place in enumerate(views):
        lines.append(f"    m{given + len(numbers) + i} = m{place}.view(BITS[m{place}.dtype])")
    for i, step in enumerate(steps):
        names[f"f{i}"] = step.function
        reads = ", ".join(f"m{place}" for place in step.reads)
        options = ""
        for key, value in step.options.items():
            names[f"{key}{i}"] = value
            options += f", {key}={key}{i}"
        lines.append(f"    f{i}({reads}, out=m{step.write}{options})")
    exec("\n".join([*lines, "    return"]), names)
    run: Callable[..., None] = names["run"]
    return run


def _reduces(line: Line) -> bool:
    return line.function in REDUCTIONS.values()


def _reduced(recorder: Recorder, line: Line) -> Dims:
    """Returns the dimensions along which a reduction or a scatter finds several elements."""
    shape = recorder.shape(line.reads[0][0])
    return frozenset(d for d in dict(line.options)["dim"] if shape[d] > 1)


def _registers(
    lines: Sequence[Line], shapes: Sequence[Shape], outputs: Sequence[int], last: dict[int, int]
) -> tuple[dict[int, int], tuple[Shape, ...]]:
    """Gives each line that is needed a register of its shape, and returns the registers' shapes.

    An output's register holds other values until its line comes. A value whose last reader is an elementwise line may
    give its register to that line, but not to a reduction.
    """
    register: dict[int, int] = {}
    registers = [shapes[i] for i in outputs]
    until = [i - _reduces(lines[i]) for i in outputs]
    free = set(range(len(outputs)))
    for i in sorted(last):
        done = {register[r.number] for r, _ in lines[i].reads if r.kind == "line" and last[r.number] == i}
        if not _reduces(lines[i]):
            free |= done
        if i in outputs:
            register[i] = outputs.index(i)
        else:
            fit = (
                r for r in sorted(free) if registers[r] == shapes[i] and (r >= len(until) or last[i] <= until[r])
            )
            register[i] = next(fit, len(registers))
            registers += [shapes[i]] if register[i] == len(registers) else []
        free = (free | done) - {register[i]}
    return register, tuple(registers)
