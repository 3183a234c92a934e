"""Elementwise mathematics as a program: its steps, taken down once, with their memory planned.

An author writes ``torch.where(x > 0, x, slope * x)``. Run as it stands, each operation makes a tensor, which for
large ones costs more than the arithmetic. Here each result gets a register: memory that is used again as soon as
nobody needs what it held. The first register is the memory of the output, where many programs find all the room they
need.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scratchnet.tiling.recorder import Line, Recorder, Unrecordable, Value

__all__ = ["Program", "Step", "record", "recording"]


class Step(NamedTuple):
    """One operation, ``function(*reads, out=write, **options)``, on places of the program's memory."""

    function: Callable[..., Any]
    reads: tuple[int, ...]
    write: int
    options: dict[str, Any]


@dataclass(frozen=True)
class Program:
    """The steps of a function of some tensors.

    Its memory has one place for each of the tensors, the registers, the numbers and the views, in this order. A view
    is a place whose bits are taken for integers. The first register is the output, and the last step writes to it.
    """

    steps: tuple[Step, ...]
    registers: int
    numbers: tuple[Tensor, ...]
    views: tuple[int, ...]


class _Thread(threading.local):
    recording = False


_thread = _Thread()


def recording() -> bool:
    """Whether this thread is taking down a program."""
    return _thread.recording


@lru_cache(maxsize=512)
def record(
    function: Callable[..., Tensor], tensors: int, dtype: torch.dtype, options: tuple[tuple[str, Any], ...]
) -> Program | None:
    """The program of ``function(*tensors, **options)``, None if it has none."""
    recorder = Recorder(dtype)
    inputs = [recorder.input(i) for i in range(tensors)]
    _thread.recording = True
    try:
        with torch.no_grad(), recorder:
            result = recorder.result(function(*inputs, **dict(options)))
        return _planned(list(recorder.lines), result, tensors, tuple(recorder.numbers))
    except Unrecordable:
        return None
    finally:
        _thread.recording = False


def _planned(lines: Sequence[Line], result: Value, tensors: int, numbers: tuple[Tensor, ...]) -> Program:
    """The lines that the result needs, with a place for each value."""
    needed = {result.number}
    last = {result.number: len(lines)}
    for i in range(result.number, -1, -1):
        for read, _ in lines[i].reads if i in needed else ():
            if read.kind == "line":
                needed.add(read.number)
                last.setdefault(read.number, i)
    register: dict[int, int] = {}
    free, registers = [0], 1
    for i in sorted(needed):
        free += {register[r.number] for r, _ in lines[i].reads if r.kind == "line" and last[r.number] == i}
        if not free:
            free.append(registers)
            registers += 1
        register[i] = 0 if i == result.number else free.pop(free.index(min(free)))
    views: list[int] = []

    def place(value: Value, bits: bool) -> int:
        base = {"tensor": 0, "line": tensors, "number": tensors + registers}[value.kind]
        here = base + (register[value.number] if value.kind == "line" else value.number)
        if not bits:
            return here
        if here not in views:
            views.append(here)
        return tensors + registers + len(numbers) + views.index(here)

    steps = tuple(
        Step(
            line.function,
            tuple(place(*r) for r in line.reads),
            place(Value("line", i), line.bits),
            dict(line.options),
        )
        for i, line in enumerate(lines)
        if i in needed
    )
    return Program(steps, registers, numbers, tuple(views))
