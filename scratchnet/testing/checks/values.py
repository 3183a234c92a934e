"""Values: the output, its gradients of every order, and its tangents."""

from __future__ import annotations

from scratchnet.testing import quantities
from scratchnet.testing.examination import Examination

__all__ = ["double_backward", "forward_mode", "forward_over_reverse", "gradients", "output", "third_derivative"]

CURVED = ("random", "expanded")


def output(e: Examination) -> bool:
    """The outputs, and that inputs stay as they were; false if one side failed."""
    with e.unchanged("inputs unchanged", e.watched(), e.call.names(), ""):
        return e.weigh(lambda subject, at: e.recording(subject, at).forward(), "output")


def gradients(e: Examination) -> None:
    """The gradients under every upstream, and that inputs and upstreams stay as they were."""
    for upstream in e.upstreams:
        names = [*e.call.names(), *(f"upstream {i}" for i in range(len(upstream.given)))]
        tensors = [*e.watched(), *upstream.given]
        with e.unchanged("inputs and upstreams unchanged", tensors, names, upstream.kind):
            make = e.under(lambda subject, at, given: e.recording(subject, at).gradients(given), upstream)
            e.weigh(make, "gradient", upstream)


def double_backward(e: Examination) -> None:
    """The gradients of the gradients under every upstream; by differences, which take long, under one."""
    for upstream in e.upstreams[:1] if e.numerical else e.upstreams:
        make = e.under(lambda subject, at, given: e.recording(subject, at).higher(given), upstream)
        e.weigh(make, "double backward", upstream)


def third_derivative(e: Examination) -> None:
    """That the double backward stays differentiable, and what of."""
    for upstream in e.upstreams[:1]:
        make = e.under(lambda subject, at, given: e.recording(subject, at).higher(given, order=3), upstream)
        e.weigh(make, "third derivative", upstream)


def forward_mode(e: Examination) -> None:
    """The tangents of the outputs."""
    if e.call.leaves():
        e.weigh(quantities.forward_mode, "forward mode")


def forward_over_reverse(e: Examination) -> None:
    """The tangents of the gradients."""
    for upstream in e.upstreams:
        if upstream.kind in CURVED and not e.random:
            e.weigh(e.under(quantities.forward_over_reverse, upstream), "forward over reverse", upstream)
