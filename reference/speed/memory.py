"""Memory of a pass: bytes saved for the backward, and the peak."""

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
    """Bytes that a graph saves for the backward: all of them, and those beyond inputs and outputs."""

    all: int
    beyond: int


def saved_bytes(run: Pass) -> Saved:
    """Counts the memory that the graph of a forward pass keeps alive, shared memory once.

    Parameters are not counted: they stay alive without the graph.
    """
    with saving() as kept:
        run.forward()
    known = run.inputs_and_outputs
    kept.add_attributes(known)
    saved = Saved(kept.beyond(run.parameters), kept.beyond(known))
    run.backward()
    return saved


def peak_bytes(run: Pass) -> int:
    """Returns the most bytes that a forward and a backward pass hold beyond what was there before.

    The profiler sees only torch's allocator, not memory that a library such as oneDNN allocates.
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
    """Silences the profiler's messages, which its library writes past Python."""
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
