"""Runs the comparisons of the catalog's records."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from typing import Any, TypeVar

import torch

from reference.catalog import RECORDS, Make, Record
from scratchnet.testing import Comparison, Row, compare

__all__ = ["OpCheck", "Summary", "check", "check_all", "check_errors", "on_all_cores", "summarize"]

T = TypeVar("T")

# Number of jobs below which starting processes costs more time than it saves.
FEWEST_FOR_PROCESSES = 40


@dataclass(frozen=True)
class OpCheck:
    """The comparisons of one op in one dtype, one for each sample."""

    name: str
    dtype: torch.dtype
    comparisons: tuple[Comparison, ...]

    @property
    def ok(self) -> bool:
        """Whether every sample agrees."""
        return bool(self.comparisons) and all(c.ok for c in self.comparisons)

    def to_dict(self) -> dict[str, Any]:
        """Returns the result as plain Python values, for JSON."""
        return {
            "name": self.name,
            "dtype": str(self.dtype).removeprefix("torch."),
            "ok": self.ok,
            "comparisons": [c.to_dict() for c in self.comparisons],
        }


@dataclass(frozen=True)
class Summary:
    """Summary of one kind of quantity over all samples.

    Attributes:
        compared: Number of rows that were compared.
        missing: Number of rows that the function does not offer.
        exact: Number of compared rows that agree bit for bit.
        failed: Number of compared rows that disagree.
        largest: The largest finite difference.
    """

    compared: int
    missing: int
    exact: int
    failed: int
    largest: float


@cache
def check(record: Record, dtype: torch.dtype, device: str | None = None) -> OpCheck:
    """Compares an op on every sample of its record.

    float64 is checked for first and second derivatives, forward mode, vmap and, on the first sample,
    `torch.compile`. The shorter dtypes only test rounding: output, gradients and tangents.
    """
    full = dtype is torch.float64
    comparisons = tuple(
        compare(
            *record.sides(sample),
            *sample.inputs,
            double_backward=full and record.double_backward,
            forward_mode=True,
            vmap=full,
            compile="aot_eager" if full and i == 0 else False,
            roundings=record.roundings,
            name=f"{record.name}({sample})",
            device=device,
            **sample.options,
        )
        for i, sample in enumerate(record.samples(Make(dtype)))
    )
    return OpCheck(record.name, dtype, comparisons)


def check_all(jobs: Sequence[tuple[Record, torch.dtype]], device: str | None = None) -> Iterator[OpCheck]:
    """Checks ops in order: many on all cores, few, or on another device, one after the other."""
    if len(jobs) < FEWEST_FOR_PROCESSES or device is not None:
        yield from (check(record, dtype, device) for record, dtype in jobs)
        return
    yield from on_all_cores(_check_by_name, [record.name for record, _ in jobs], [dtype for _, dtype in jobs])


def on_all_cores(function: Callable[..., T], *arguments: Sequence[Any]) -> Iterator[T]:
    """Maps a function on all cores, each call in a process with one thread."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # A fork would inherit the locks of the threads that torch has started.
    with ProcessPoolExecutor(cores, get_context("spawn"), _begin) as pool:
        yield from pool.map(function, *arguments)


def _begin() -> None:
    """Prepares a process, which leaves Ctrl-C to the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


def _check_by_name(name: str, dtype: torch.dtype) -> OpCheck:
    """Checks an op and drops the evidence, which cannot be sent to another process."""
    result = check(RECORDS[name], dtype)
    return replace(result, comparisons=tuple(c.without_evidence() for c in result.comparisons))


def check_errors(record: Record) -> list[str]:
    """Makes the calls that must fail and describes each that does not fail as the built-in does."""
    complaints = []
    for bad in record.errors:
        for side, function in (("custom", record.custom), ("built-in", record.builtin)):
            try:
                record.fail(function, bad)
            except bad.error as error:
                if side == "custom" and bad.says not in str(error):
                    complaints.append(f"{record.name}: expected the message to say {bad.says!r}, got {error}")
            except Exception as error:
                complaints.append(f"{record.name}: {side} raises {type(error).__name__}, not {bad.error.__name__}")
            else:
                complaints.append(f"{record.name}: {side} accepts what must raise {bad.error.__name__}")
    return complaints


def summarize(result: OpCheck, *kinds: str) -> Summary:
    """Summarizes the rows whose quantity starts with one of the given words."""
    rows: Sequence[Row] = [r for c in result.comparisons for r in c.rows if r.quantity.startswith(kinds)]
    compared = [r for r in rows if r.verdict not in ("not compared", "not offered")]
    differences = [r.largest for r in compared if math.isfinite(r.largest)]
    return Summary(
        compared=len(compared),
        missing=sum(r.verdict == "not offered" for r in rows),
        exact=sum(r.verdict == "exact" for r in compared),
        failed=sum(r.verdict in ("differs", "raises") for r in compared),
        largest=max(differences, default=0.0),
    )
