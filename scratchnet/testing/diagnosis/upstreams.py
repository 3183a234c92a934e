"""Causes that show in how a gradient depends on its upstream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

import torch
from torch import Tensor

from scratchnet.testing.comparison import Row
from scratchnet.testing.diagnosis.closeness import apart, close
from scratchnet.testing.diagnosis.messages import UNUSED
from scratchnet.testing.examination import Examination
from scratchnet.testing.subject import as_real

__all__ = ["by_reach", "by_upstreams"]

STRIDED = ("expanded", "constant", "sliced", "transposed", "channels_last")


def by_upstreams(row: Row) -> Iterator[str]:
    """Causes by the kinds of upstream under which a gradient is right and wrong."""
    noted = row.evidence.findings if row.evidence else []
    findings = [n for n in noted if n.got is not None and n.expected is not None]
    if row.evidence is None or len(findings) < 2 or row.check != "gradients":
        return
    wrong = [n.kind for n in findings if apart(n)]
    found = [n.got for n in findings if n.got is not None]
    if all(torch.equal(got, found[0]) for got in found) and bool(found[0].any()):
        yield "the gradient is the same whatever comes from upstream: it ignores grad_output"
    if wrong and set(wrong) <= set(STRIDED) and any(_right_if_contiguous(row, kind) for kind in wrong):
        yield f"it assumes a contiguous grad_output: wrong stride under {', '.join(dict.fromkeys(wrong))}"
    if wrong and all(kind.startswith("None") for kind in wrong):
        yield UNUSED
    for right in (n.kind for n in findings if n.kind.startswith("None") and not apart(n)):
        if wrong:
            yield f"the upstream of {right.removeprefix('None for ')} is left out"
    yield from _exchanged(row)


def _under(
    row: Row, change: Callable[[list[Tensor | None]], list[Tensor | None]], kind: str, ours: bool
) -> Tensor | None:
    """A gradient of either side where the upstream of some kind is changed."""
    assert row.evidence is not None
    e: Examination = row.evidence.examination
    given = next((u.given for u in e.upstreams if u.kind == kind), [])
    recording = e.recording(e.ours if ours else e.theirs, e.call)
    return recording.gradients(change(given)).get(row.quantity.removeprefix(e.prefix))


def _right_if_contiguous(row: Row, kind: str) -> bool:
    assert row.evidence is not None
    wanted = next(n.expected for n in row.evidence.findings if n.kind == kind)
    found = _under(row, lambda given: [None if u is None else u.contiguous().clone() for u in given], kind, True)
    return found is not None and wanted is not None and close(as_real(found).double(), wanted.double())


def _exchanged(row: Row) -> Iterator[str]:
    """Whether the built-in gives the same where the upstreams of two outputs change places."""
    assert row.evidence is not None
    got = next((n.got for n in row.evidence.findings if n.kind == "random" and apart(n)), None)
    shapes = [u.shape for u in row.evidence.examination.upstreams[0].given if u is not None]
    if got is None or len(shapes) < 2:
        return
    for i, j in combinations(range(len(shapes)), 2):
        order = [j if k == i else i if k == j else k for k in range(len(shapes))]
        if shapes[i] == shapes[j]:
            found = _under(row, lambda given, order=order: [given[k] for k in order], "random", False)  # type: ignore[misc]
            if found is not None and close(got.double(), as_real(found).double()):
                yield f"the upstreams of the outputs are exchanged: {i} and {j}"


def by_reach(row: Row) -> Iterator[str]:
    """Causes by the elements that a single element of the upstream reaches."""
    if row.evidence is None or row.check != "gradients":
        return
    one = next((n for n in row.evidence.findings if n.kind == "one-hot"), None)
    if one is None or one.got is None or one.expected is None:
        return
    got, expected = one.got != 0, one.expected != 0
    fewer, more = expected & ~got, got & ~expected
    dims = ", ".join(str(d) for d in range(fewer.dim()) if _varies(fewer, d))
    if dims and not bool(more.any()):
        if int(got.sum()) <= 1:
            yield f"each element is taken by itself: a sum over dimension {dims} is missing, or a mean"
        yield f"an element of grad_output reaches too few elements: a part along dimension {dims} is missing"
    if bool(more.any()) and not bool(fewer.any()):
        yield "an element of grad_output reaches more elements than it should: the backward sums or averages it"
    if bool(more.any()):
        yield (
            "an element of grad_output reaches the wrong elements: a sum over the wrong dimension, or a wrong index "
            "or direction"
        )


def _varies(mask: Tensor, dim: int) -> bool:
    """Whether the elements of a mask lie at more than one place along a dimension."""
    rest = [d for d in range(mask.dim()) if d != dim]
    return int((mask.sum(rest) if rest else mask).bool().sum()) > 1
