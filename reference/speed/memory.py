"""Memory of a pass: what it keeps for the backward, and how much it holds at most."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from torch.profiler import ProfilerActivity, profile

from reference.speed.workload import Pass
from scratchnet.testing.saved_memory import saving

__all__ = ["Saved", "peak_bytes", "saved_bytes"]


class Saved(NamedTuple):
    """Bytes that a graph keeps for the backward: all of them, and those that are neither input nor output."""

    all: int
    beyond: int


def saved_bytes(run: Pass) -> Saved:
    """Counts the memory that the graph of a forward pass keeps alive, each piece once.

    Parameters are not in it: they stay whether the graph keeps them or not.
    """
    with saving() as kept:
        run.forward()
    known = run.inputs_and_outputs
    kept.add_attributes(known)
    saved = Saved(kept.beyond(run.parameters), kept.beyond(known))
    run.backward()
    return saved


def peak_bytes(run: Pass) -> int:
    """Bytes that a forward and backward pass hold at most, on top of what was there before.

    From what torch's allocator tells the profiler; what a library such as oneDNN takes for itself is not in it.
    """
    with _silent(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        run.forward()
        run.backward()
    kineto = watched.profiler.kineto_results if watched.profiler is not None else None
    changes = [e for e in kineto.events() if e.name() == "[memory]"] if kineto is not None else []
    held = most = 0
    for change in sorted(changes, key=lambda e: e.start_ns()):
        held += change.nbytes()
        most = max(most, held)
    return most


@contextmanager
def _silent() -> Iterator[None]:
    """Keeps the profiler's own messages, which its library writes past Python, off the screen."""
    saved = [(descriptor, os.dup(descriptor)) for descriptor in (1, 2)]
    with open(os.devnull, "w") as nowhere:
        for descriptor, _ in saved:
            os.dup2(nowhere.fileno(), descriptor)
        try:
            yield
        finally:
            for descriptor, copy in saved:
                os.dup2(copy, descriptor)
                os.close(copy)
