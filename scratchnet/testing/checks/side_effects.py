"""Conduct: what a function leaves behind, and whether it does the same each time."""

from __future__ import annotations

import copy
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from scratchnet.testing.checks.values import output
from scratchnet.testing.comparison import Finding
from scratchnet.testing.examination import Examination
from scratchnet.testing.fresh_memory import FreshMemoryIsNaN
from scratchnet.testing.quantities import Quantities, Recording
from scratchnet.testing.subject import Call, Subject
from scratchnet.testing.tolerances import same_bits

__all__ = ["deterministic", "fresh_memory", "saved_unchanged", "threads"]

REPEATS = 3
ROUNDS = 8
SWITCH_INTERVAL = 1e-5


def saved_unchanged(e: Examination) -> None:
    """That a backward pass leaves the saved tensors as they were, for the next one over the same graph."""
    saved: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor.detach())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        recording = Recording(e.ours, e.call)
    for upstream in e.upstreams[:1]:
        names = [f"saved tensor {i}" for i in range(len(saved))]
        with e.unchanged("saved tensors unchanged", saved, names, upstream.kind):
            first = recording.gradients(upstream.given)
        for name, again in recording.gradients(upstream.given).items():
            found = Finding(upstream.kind, again, first[name], None)
            e.findings.take(f"{e.prefix}second pass over one graph: {name}", found, e)


def fresh_memory(e: Examination) -> None:
    """Output and gradients while every fresh buffer of the custom side is full of NaN."""

    class Filled(Subject):
        def _call(self, call: Call) -> object:
            with FreshMemoryIsNaN():
                return super()._call(call)

    on = e.on(e.call, "fresh buffers hold NaN", ours=Filled(e.ours.function, e.ours.names))
    if output(on):
        for upstream in on.upstreams[:1]:

            def make(subject: Subject, at: Call, given: list[Tensor | None]) -> Quantities:
                if subject is not on.ours:
                    return on.recording(subject, at).gradients(given)
                with FreshMemoryIsNaN():
                    return on.recording(subject, at).gradients(given)

            on.weigh(on.under(make, upstream), "gradient", upstream)


def deterministic(e: Examination) -> None:
    """That the same call gives the same bits each time."""
    for upstream in e.upstreams[:1]:
        first = _everything(e.ours, e.call, upstream.given)
        for _ in range(REPEATS):
            if not _alike(first, again := _everything(e.ours, e.call, upstream.given)):
                odd = _odd(first, again)
                e.findings.add(
                    e.prefix + "repeated calls", "differs", f"{odd} changes from call to call", examination=e
                )
                return
        e.findings.add(e.prefix + "repeated calls", "exact")


def threads(e: Examination) -> None:
    """That calls do not disturb each other: two graphs alive at once, differentiated in two threads at once."""
    if e.random or not e.upstreams:
        return
    given = e.upstreams[0].given
    calls = [e.call, e.call.with_leaves([(0.5 * x.detach()).requires_grad_() for x in e.call.leaves()])]
    alone = [_everything(e.ours, call, given) for call in calls]
    recordings = [Recording(e.ours, call) for call in calls]
    interleaved = [{**r.forward(), **r.gradients(given)} for r in recordings]
    for i, (found, wanted) in enumerate(zip(interleaved, alone, strict=True)):
        if not _alike(found, wanted):
            said = f"{_odd(found, wanted)} of call {i} is another one when a second call comes before its backward"
            e.findings.add(e.prefix + "two calls at once", "differs", said, examination=e)
            return
    if "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") == "1":
        said = "Triton's interpreter takes one thread at a time"
        e.findings.add(e.prefix + "two calls at once", "not compared", said)
        return
    for _ in range(ROUNDS):
        if odd := _race(e.ours, calls, given, alone):
            e.findings.add(e.prefix + "two calls at once", "differs", odd, examination=e)
            return
    e.findings.add(e.prefix + "two calls at once", "exact")


def _race(ours: Subject, calls: list[Call], given: list[Tensor | None], alone: list[Quantities]) -> str:
    """Both calls in threads that start each pass together; what went wrong in words."""
    barrier = threading.Barrier(len(calls), timeout=60)
    sides = [_own(ours) for _ in calls]
    found: list[Quantities | Exception | None] = [None] * len(calls)

    def run(i: int) -> None:
        try:
            barrier.wait()
            recording = Recording(sides[i], calls[i])
            barrier.wait()
            found[i] = {**recording.forward(), **recording.gradients(given)}
        except Exception as error:  # whatever it raises is what there is to report
            found[i] = error
            barrier.abort()

    with _eager_switching():
        workers = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    for i, (result, wanted) in enumerate(zip(found, alone, strict=True)):
        if isinstance(result, Exception) and not isinstance(result, threading.BrokenBarrierError):
            return f"call {i} raises {type(result).__name__} beside another thread: {result}"
        if isinstance(result, dict) and not _alike(result, wanted):
            return f"{_odd(result, wanted)} of call {i} is another one beside a second thread"
    return ""


def _own(subject: Subject) -> Subject:
    """A module of its own for each thread: a call puts the call's parameters in the place of the module's."""
    if not isinstance(subject.function, nn.Module):
        return subject
    return Subject(copy.deepcopy(subject.function), subject.names)


@contextmanager
def _eager_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _everything(subject: Subject, call: Call, given: list[Tensor | None]) -> Quantities:
    recording = Recording(subject, call)
    return {**recording.forward(), **recording.gradients(given)}


def _alike(a: Quantities, b: Quantities) -> bool:
    return not _odd(a, b)


def _odd(a: Quantities, b: Quantities) -> str:
    """The first quantity in which two calls differ."""
    for name in a | b:
        x, y = a.get(name), b.get(name)
        if (x is None) != (y is None):
            return name
        if x is not None and y is not None and (x.shape != y.shape or not same_bits(x, y)):
            return name
    return ""
