"""Causes that show where a function is called once more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from scratchnet.testing.comparison import Finding, Row
from scratchnet.testing.diagnosis.closeness import close
from scratchnet.testing.examination import Examination
from scratchnet.testing.quantities import Quantities, Recording
from scratchnet.testing.subject import Subject, as_real

__all__ = ["by_state", "input_for_output", "other_arguments"]

STATE = "a tensor is kept on the class or in a global: keep it with ctx.save_for_backward"


def by_state(row: Row) -> Iterator[str]:
    """Whether calls disturb each other, or a backward does not repeat itself."""
    if row.evidence is None or row.is_side_effect or row.check not in ("output", "gradients", "double_backward"):
        return
    e: Examination = row.evidence.examination.origin
    try:
        yield from _state(row, e)
    except Exception:  # a call that fails tells nothing about the state between calls
        return


def _state(row: Row, e: Examination) -> Iterator[str]:
    first = Recording(e.ours, e.call)
    if row.check == "output":
        got = row.evidence.findings[0].got if row.evidence is not None and row.evidence.findings else None
        now = first.forward().get(row.quantity)
        if now is not None and got is not None and not e.random and not close(as_real(now).double(), got.double()):
            yield "the output is changed afterwards: the backward works in place on what it saved"
        return
    given = e.upstreams[0].given
    random = torch.random.default_generator.get_state()
    before = first.gradients(given)
    drew = not torch.equal(random, torch.random.default_generator.get_state())
    if not _same(before, first.gradients(given)):
        if drew:
            yield "the backward draws random numbers anew: draw them in the forward, and save them"
        yield "the gradient changes from call to call: a tensor is added to that outlives the call"
    other = e.call.with_leaves([(0.5 * x.detach()).requires_grad_() for x in e.call.leaves()])
    second = Recording(e.ours, other)
    if not _same(before, first.gradients(given)):
        yield STATE
    wanted = [Recording(e.theirs, call).gradients(given) for call in (e.call, other)]
    if _same(before, wanted[0]) and not _same(*wanted) and _same(second.gradients(given), before):
        yield STATE


def _same(a: Quantities, b: Quantities) -> bool:
    def equal(x: Tensor | None, y: Tensor | None) -> bool:
        if x is None or y is None:
            return x is y
        return close(x, y)

    return a.keys() == b.keys() and all(equal(a[name], b[name]) for name in a)


def other_arguments(row: Row, finding: Finding, what: str) -> Iterator[str]:
    """Whether the gradient is right for other arguments: transposed, exchanged, conjugated."""
    if finding.got is None or finding.expected is None or row.evidence is None or row.check != "gradients":
        return
    e: Examination = row.evidence.examination
    leaves = [x.detach() for x in e.call.leaves()]
    for i, (name, leaf) in enumerate(zip(e.call.names(), leaves, strict=True)):
        if leaf.dim() > 1 and leaf.shape[-1] == leaf.shape[-2]:
            turned = [x.mT if i == j else x for j, x in enumerate(leaves)]
            if _equal(_gradient(row, finding, e.theirs, turned), finding.got):
                yield f"{what} is computed with {name} transposed"
        for dim in range(leaf.dim()):
            turned = [x.flip(dim) if i == j else x for j, x in enumerate(leaves)]
            if leaf.shape[dim] > 1 and _equal(_gradient(row, finding, e.theirs, turned), finding.got):
                yield f"{what} is computed with {name} flipped along dimension {dim}"
    for other in e.call.names():
        if f"gradient of {other}" != row.quantity.removeprefix(e.prefix):
            if _equal(_gradient(row, finding, e.theirs, leaves, other), finding.got):
                yield f"{what} belongs to {other}: the gradients are in another order"
    if any(x.is_complex() for x in leaves):
        if _equal(_gradient(row, finding, e.theirs, [x.conj().resolve_conj() for x in leaves]), finding.got):
            yield f"a conjugate is missing: {what} is that at the conjugate of the arguments"
        if not bool(finding.got[..., 1].any()) and bool(finding.expected[..., 1].any()):
            yield f"the imaginary part of {what} is dropped"


def input_for_output(row: Row, finding: Finding, what: str) -> Iterator[str]:
    """Whether the gradient is right where the input is the output, or the other way round."""
    if finding.got is None or finding.expected is None or row.evidence is None or row.check != "gradients":
        return
    e: Examination = row.evidence.examination
    outputs, leaves = e.recording(e.theirs, e.call).outputs, e.call.leaves()
    if len(outputs) == len(leaves) == 1 and outputs[0].shape == leaves[0].shape:
        if _equal(_gradient(row, finding, e.ours, outputs), finding.expected):
            yield f"{what} is computed with the input in place of the output: save the output"
        if _equal(_gradient(row, finding, e.theirs, outputs), finding.got):
            yield f"{what} is computed with the output in place of the input: save the input"


def _gradient(
    row: Row, finding: Finding, subject: Subject, tensors: Sequence[Tensor], of: str = ""
) -> Tensor | None:
    """A gradient at other tensors; None where these are refused."""
    assert row.evidence is not None
    e: Examination = row.evidence.examination
    upstream = next((u for u in e.upstreams if u.kind == finding.kind), None)
    if upstream is None:
        return None
    try:
        at = e.call.with_leaves([x.detach().requires_grad_() for x in tensors])
        name = f"gradient of {of}" if of else row.quantity.removeprefix(e.prefix)
        return Recording(subject, at).gradients(upstream.given).get(name)
    except Exception:  # what refuses these arguments is not right for them
        return None


def _equal(found: Tensor | None, wanted: Tensor) -> bool:
    return found is not None and close(as_real(found).double(), wanted.double())
