"""Values: the output, its gradients of every order, and its tangents."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from scratchnet.testing import quantities
from scratchnet.testing.examination import Examination
from scratchnet.testing.quantities import Quantities, Recording, like, outputs_of
from scratchnet.testing.subject import Call, Subject

__all__ = [
    "double_backward",
    "each_alone",
    "forward_mode",
    "forward_over_reverse",
    "gradients",
    "no_grad",
    "output",
    "third_derivative",
]

CURVED = ("random", "expanded")
STEP = 2.0**-13


def output(e: Examination) -> bool:
    """The outputs, and that inputs stay as they were; false if one side failed."""
    with e.unchanged("inputs unchanged", e.watched(), e.call.names(), ""):
        found = e.weigh(lambda subject, at: e.recording(subject, at).forward(), "output")
    if found and not e.numerical:
        places = e.recording(e.ours, e.call).differentiable
        for i in sorted({*places} - {*e.places}) if e.places else ():
            said = "takes a gradient, the built-in's output is a constant"
            e.findings.add(f"{e.prefix}gradient through output {i}", "differs", said, examination=e)
    return found


def gradients(e: Examination) -> None:
    """The gradients under every upstream, and that inputs and upstreams stay as they were."""
    if e.places and not e.upstreams:
        said = "the outputs have no shape for upstreams of these kinds"
        e.findings.add(e.prefix + "gradient", "not compared", said)
    for upstream in e.upstreams:
        names = [*e.call.names(), *(f"upstream {i}" for i in range(len(upstream.given)))]
        tensors = [*e.watched(), *upstream.given]
        with e.unchanged("inputs and upstreams unchanged", tensors, names, upstream.kind):
            e.weigh_gradients(upstream)


def no_grad(e: Examination) -> None:
    """The outputs where no gradient is recorded, for which many functions take another path."""

    def make(subject: Subject, at: Call) -> Quantities:
        if subject is e.theirs:
            return outputs_of(e.recording(subject, at).outputs, "output without grad")
        with torch.no_grad():
            return outputs_of(Recording(subject, at).outputs, "output without grad")

    e.weigh(make, "output without grad")


def each_alone(e: Examination) -> None:
    """The gradient of each input where no other needs one."""
    leaves = e.call.leaves()
    if len(leaves) < 2:
        return
    for i, name in enumerate(e.call.names()):
        alone = [x if i == j else x.detach() for j, x in enumerate(leaves)]
        on = e.on(e.call.with_leaves(alone), f"{name} alone needs a gradient")
        for upstream in on.upstreams[:1]:
            on.weigh_gradients(upstream)


def double_backward(e: Examination) -> None:
    """The gradients of the gradients under every upstream; by differences, which take long, under one."""
    for upstream in e.upstreams[:1] if e.numerical else e.upstreams:
        make = e.under(lambda subject, at, given: e.recording(subject, at).higher(given), upstream)
        e.weigh(make, "double backward", upstream)


def third_derivative(e: Examination) -> None:
    """That the double backward stays differentiable, and what of.

    Some built-ins take what they saved for a constant there, which their own second derivative then gives away.
    """
    for upstream in e.upstreams[:1]:
        given = [None if u is None else u.detach() for u in (upstream.wide or upstream.given)]
        at = e.truth or e.call
        try:
            trusted = _third_is_that_of_second(e.theirs, at, given)
        except Exception:  # what cannot be differentiated three times is reported below
            trusted = True
        if not trusted:
            said = "the built-in's third derivative is not that of its second"
            e.findings.add(e.prefix + "third derivative", "not compared", said)
            return
        make = e.under(lambda subject, at, given: e.recording(subject, at).higher(given, order=3), upstream)
        e.weigh(make, "third derivative", upstream)


def _third_is_that_of_second(subject: Subject, at: Call, given: list[Tensor | None]) -> bool:
    """Whether differences of the second derivative agree with the third, along one random direction."""
    generator = torch.Generator().manual_seed(at.seed + 4)
    ways = [like(x, generator) for x in at.leaves()]

    def second(step: float) -> Tensor:
        moved = [(x.detach() + step * w).requires_grad_() for x, w in zip(at.leaves(), ways, strict=True)]
        found = Recording(subject, at.with_leaves(moved)).higher(given)
        weights = torch.Generator().manual_seed(at.seed + 2)
        return torch.stack([(g * like(g, weights)).sum() for g in found.values() if g is not None]).sum()

    third = Recording(subject, at).higher(given, order=3)
    names = [f"third derivative of {name}" for name in at.names()]
    pairs = [(g, w) for name, w in zip(names, ways, strict=True) if (g := third[name]) is not None]
    told = sum(float((g * w).sum()) for g, w in pairs)
    shown = float(second(STEP) - second(-STEP)) / (2 * STEP)
    return abs(told - shown) <= 1e-4 * (1 + abs(shown))


def forward_mode(e: Examination) -> None:
    """The tangents of the outputs."""
    if e.call.leaves():
        e.weigh(partial(quantities.forward_mode, places=e.places), "forward mode")


def forward_over_reverse(e: Examination) -> None:
    """The tangents of the gradients."""
    for upstream in [] if e.random else e.upstreams_of(CURVED):
        e.weigh(e.under(quantities.forward_over_reverse, upstream), "forward over reverse", upstream)
