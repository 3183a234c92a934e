"""Transformed calls: batched by vmap, compiled, and under autocast."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from scratchnet.testing.checks.values import gradients
from scratchnet.testing.examination import Examination, Upstream
from scratchnet.testing.quantities import Quantities, Recording, over_batches
from scratchnet.testing.subject import Call, Subject

__all__ = ["autocast", "compiled", "vmap", "vmap_each"]

TWO = ("random", "expanded")


def vmap(e: Examination) -> None:
    """A stack of two calls, forward and backward."""
    if e.random:
        e.findings.add(e.prefix + "vmap", "not compared", "random numbers come in no specified order under vmap")
        return
    for upstream in e.upstreams_of(TWO):
        if not e.weigh(_vmapped(e, upstream, None), "vmap", upstream):
            return


def vmap_each(e: Examination) -> None:
    """A stack of two calls of which only one input differs, for each input in turn."""
    leaves = e.call.names()
    if e.random or len(leaves) < 2:
        return
    for i, name in enumerate(leaves):
        on = e.on(e.call, f"vmap over {name} alone")
        for upstream in on.upstreams[:1]:
            on.weigh(_vmapped(on, upstream, i), "vmap", upstream)


def _vmapped(e: Examination, upstream: Upstream, batched: int | None) -> Callable[[Subject, Call], Quantities]:
    """The built-in must be able to do it, but what counts is its loop: some of its vmap rules differ from it."""
    proven = e.numerical or upstream.kind != "random"

    def make(subject: Subject, at: Call, given: Sequence[Tensor | None]) -> Quantities:
        if subject is not e.theirs:
            return over_batches(subject, at, given, batched=batched)
        if not proven:
            over_batches(subject, at, given, batched=batched)
        return over_batches(subject, at, given, loop=True, batched=batched)

    return e.under(make, upstream)


def compiled(e: Examination) -> None:
    """Output and gradients under `torch.compile` without graph breaks, against the built-in's eager ones."""
    torch._dynamo.reset()
    ours = _compile(e.ours, e.backend)
    # A graph that is kept for another upstream must not give its buffers away.
    with torch._functorch.config.patch(donated_buffer=False):
        for upstream in e.upstreams_of(TWO):
            e.weigh(e.under(partial(_compiled, e, ours), upstream), "compiled", upstream)


def _compile(subject: Subject, backend: str) -> Subject:
    if not isinstance(subject.function, torch.nn.Module):
        return Subject(torch.compile(subject.function, fullgraph=True, backend=backend))
    module = copy.copy(subject.function)  # shares the parameters, in whose place the call's own come
    module.forward = torch.compile(module.forward, fullgraph=True, backend=backend)
    return Subject(module, subject.names)


def _compiled(
    e: Examination, ours: Subject, subject: Subject, at: Call, given: Sequence[Tensor | None]
) -> Quantities:
    recording = e.recording(subject, at) if subject is e.theirs else Recording(ours, at)
    found = {**recording.forward(), **recording.gradients(given)}
    return {f"compiled {name}": tensor for name, tensor in found.items()}


def autocast(e: Examination) -> None:
    """Output and gradients of a float32 call under `torch.autocast` to bfloat16, dtypes included."""
    device = next((x.device.type for x in e.call.leaves()), "cpu")
    on = e.on(e.call.to(torch.float32), "autocast")
    with torch.autocast(device, dtype=torch.bfloat16):
        if on.weigh(lambda subject, at: on.recording(subject, at).forward(), "output"):
            gradients(on)
