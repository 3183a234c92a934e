"""Memory: what is kept for the backward pass, and what is never given back."""

from __future__ import annotations

import gc
import weakref

from torch import Tensor

from scratchnet.testing.examination import Examination
from scratchnet.testing.quantities import Recording
from scratchnet.testing.saved_memory import saving
from scratchnet.testing.subject import Call, Subject

__all__ = ["leaks", "memory"]

CALLS = 8


def memory(e: Examination) -> None:
    """Counts the bytes that each side keeps for the backward pass, inputs and outputs not among them."""
    e.findings.saved = _saved_bytes(e.ours, e.call), _saved_bytes(e.theirs, e.call)


def _saved_bytes(subject: Subject, call: Call) -> int:
    with saving() as kept:
        recording = Recording(subject, call)
    kept.add_attributes([recording.outputs[i] for i in recording.differentiable])
    return kept.beyond((*recording.call.leaves(), *recording.outputs))


def leaks(e: Examination) -> None:
    """That nothing stays alive once a call and its backward are over: no cycle, no hidden list of tensors."""
    if not e.upstreams:
        return
    given = e.upstreams[0].given
    _pass(e.ours, e.call, given)
    enabled = gc.isenabled()
    gc.disable()
    gc.freeze()  # the collector skips what is there already, which takes seconds in a large process
    try:
        held = [name for name, reference in _pass(e.ours, e.call, given) if reference() is not None]
        for _ in range(CALLS - 1):
            _pass(e.ours, e.call, given)
        grown = _tensors_alive()
        gc.collect()
        lost = _tensors_alive()
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()
    what = e.prefix + "nothing leaks"
    if lost >= CALLS:
        e.findings.add(what, "differs", f"{lost} tensors are still alive after {CALLS} calls", examination=e)
    elif held or grown >= CALLS:
        said = f"{' and '.join(held) or 'tensors'} wait for the garbage collector in a reference cycle"
        e.findings.add(what, "differs", said, examination=e)
    else:
        e.findings.add(what, "exact")


def _pass(subject: Subject, call: Call, given: list[Tensor | None]) -> list[tuple[str, weakref.ref[Tensor]]]:
    """A call and its backward, and weak references to what came in and out."""
    recording = Recording(subject, call)
    recording.gradients(given)
    outputs = [(f"output {i}", weakref.ref(y)) for i, y in enumerate(recording.outputs)]
    return outputs + [(n, weakref.ref(x)) for n, x in zip(call.names(), recording.call.leaves(), strict=True)]


def _tensors_alive() -> int:
    """Tensors that came into being since the collector's objects were frozen."""
    return sum(1 for thing in gc.get_objects() if type(thing) is Tensor)
