"""The likely cause of a disagreement, where its pattern gives it away."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from scratchnet.testing.board import Noted
from scratchnet.testing.comparison import Row
from scratchnet.testing.quantities import Recording

__all__ = ["likely_cause"]

STRIDED = ("expanded", "constant", "sliced", "transposed", "channels_last")


def likely_cause(row: Row) -> str:
    """What is probably wrong, in words; empty where the pattern says nothing."""
    return next((cause for look in LOOKS for cause in look(row) if cause), "")


def _by_check(row: Row) -> Iterator[str]:
    if row.quantity.endswith("unchanged"):
        what = row.note.partition("overwrites ")[2].partition(", upstream:")[0]
        yield f"it works in place on {what or 'what it was given'}: copy it first"
    if row.quantity.startswith("fresh buffers") and row.got != row.got:
        yield "an element of a buffer from torch.empty is never written: use torch.zeros, or write all of it"
    if row.check == "saved_unchanged":
        yield "the backward changes what it saved, so that a second pass over the same graph is wrong"
    if row.check == "threads":
        yield "a tensor is kept on the class or in a global: keep it with ctx.save_for_backward"
    if row.check == "deterministic":
        yield "it depends on something that changes from call to call"
    if row.check == "leaks":
        yield "a tensor is kept on ctx as an attribute (a cycle), or in a list that grows: use ctx.save_for_backward"
    if row.check == "forward_mode":
        yield from _numbers(row, "jvp")
        yield "jvp is not the derivative of forward; the backward may be right"
    if row.verdict == "raises" and re.search(r"vmap|[Bb]atched", row.note):
        yield "no vmap rule that works: set generate_vmap_rule = True and use tensor operations only"


def _by_message(row: Row) -> Iterator[str]:
    found = re.search(r"got \[([\d, ]*)\] but expected shape compatible with \[([\d, ]*)\]", row.note)
    if found:
        got, wanted = ([int(n) for n in part.split(",") if n.strip()] for part in found.groups())
        if sorted(got) == sorted(wanted):
            yield "the gradient is transposed"
        yield "the gradient has the wrong shape: a broadcast dimension must be summed, sum_to_size does that"
    if "shape (" in row.note:
        yield "the result has the wrong shape"
    if "dtype torch" in row.note:
        yield "the result has the wrong dtype: convert it to that of the input at the end"
    if row.note.startswith("missing"):
        if "double" in row.quantity or "third" in row.quantity:
            yield "an intermediate is taken for a constant: it was kept on ctx, or detached"
        yield "no gradient is returned where one is due"
    if "upstream: None" in row.note:
        yield "it assumes that every output has an upstream gradient: that of an unused output is None"


def _by_upstreams(row: Row) -> Iterator[str]:
    noted = [n for n in row.evidence.noted if n.got is not None and n.expected is not None] if row.evidence else []
    if len(noted) < 2 or "gradient" not in row.quantity:
        return
    wrong = [n.kind for n in noted if _apart(n)]
    found = [n.got for n in noted if n.got is not None]
    if all(torch.equal(got, found[0]) for got in found) and bool(found[0].any()):
        yield "the gradient is the same whatever comes from upstream: it ignores grad_output"
    if wrong and "random" not in wrong and "one-hot" not in wrong and set(wrong) <= set(STRIDED):
        yield f"it assumes a contiguous grad_output: wrong stride under {', '.join(dict.fromkeys(wrong))}"
    if wrong and all(kind.startswith("None") for kind in wrong):
        yield "it assumes that every output has an upstream gradient: that of an unused output is None"


def _by_numbers(row: Row) -> Iterator[str]:
    if row.evidence and row.evidence.examination.numerical and row.check == "gradients":
        cause = next(_numbers(row, "the gradient"), "")
        meant = "if that is meant, name the function that it belongs to: compare(..., gradient_of=...)"
        yield f"the gradient is not the derivative of forward; {cause + '; ' if cause else ''}{meant}"
    yield from _numbers(row, "the gradient" if "gradient" in row.quantity else "the value")


def _numbers(row: Row, what: str) -> Iterator[str]:
    if row.evidence is None or not row.evidence.noted:
        return
    noted = next((n for n in row.evidence.noted if n.kind == "random" and _apart(n)), None)
    noted = noted or row.evidence.noted[row.evidence.worst]
    assert noted.got is not None
    assert noted.expected is not None
    got, expected = noted.got.double(), (noted.expected if noted.truth is None else noted.truth).double()
    if bool(got.isnan().any()) and not bool(expected.isnan().any()):
        yield f"{what} is NaN where it should not be: 0/0, 0·∞ or ∞ − ∞ on the way"
    if not bool(got.isfinite().all()) or not bool(expected.isfinite().all()):
        return
    if not bool(got.any()) and bool(expected.any()):
        yield _zero(row, what)
    yield from _factor(row, got, expected, what)
    yield from _transposed_leaf(row, noted, what)
    yield from _places(row, got, expected, what)
    yield from _region(row, got, expected, what)
    yield from _term(got, expected, what)


def _zero(row: Row, what: str) -> str:
    if row.check in ("double_backward", "third_derivative"):
        return "an intermediate is taken for a constant: it was kept on ctx, or detached"
    return f"{what} is zero throughout"


def _factor(row: Row, got: Tensor, expected: Tensor, what: str) -> Iterator[str]:
    factor = float((got * expected).sum() / expected.square().sum()) if bool(expected.any()) else 0.0
    if not factor or not _close(got, factor * expected):
        return
    if _near(factor, 1):
        yield f"{what} has too few digits: a shorter dtype on the way, or a constant that is not exact"
    if _near(factor, -1):
        yield f"{what} has the wrong sign"
    sizes = {size for x in _leaves(row) for size in (*x.shape, x.numel()) if size > 1}
    batch = {x.shape[0] for x in _leaves(row) if x.dim()}
    for by, said in ((factor, "too large"), (1 / factor, "too small")):
        if any(_near(by, size) for size in sorted(sizes)):
            name = "the batch size" if any(_near(by, n) for n in batch) else "a size of the input"
            yield f"{what} is {said} by a factor of {round(by)}, {name}: a mean taken for a sum, or the reverse"
    yield f"{what} is off by a constant factor of {factor:.6g}"


def _transposed_leaf(row: Row, noted: Noted, what: str) -> Iterator[str]:
    """Whether the built-in gives the same where one of its square arguments is transposed."""
    assert row.evidence is not None
    e = row.evidence.examination
    upstream = next((u for u in e.upstreams if u.kind == noted.kind), None)
    leaves = e.call.leaves()
    for i, (name, leaf) in enumerate(zip(e.call.names(), leaves, strict=True)):
        if leaf.dim() < 2 or leaf.shape[-1] != leaf.shape[-2] or upstream is None or row.check != "gradients":
            continue
        turned = [x.detach().mT.requires_grad_() if i == j else x for j, x in enumerate(leaves)]
        found = Recording(e.theirs, e.call.with_leaves(turned)).gradients(upstream.given).get(row.quantity)
        if found is not None and noted.got is not None and _close(noted.got.double(), found.double()):
            yield f"{what} is computed with {name} transposed"


def _places(row: Row, got: Tensor, expected: Tensor, what: str) -> Iterator[str]:
    if got.dim() > 1 and got.numel() > 1:
        for i in range(got.dim()):
            for j in range(i + 1, got.dim()):
                if got.shape[i] == got.shape[j] and _close(got, expected.transpose(i, j)):
                    yield f"{what} is transposed: dimensions {i} and {j} are swapped"
        if _close(got.flatten(), expected.permute(*reversed(range(got.dim()))).flatten()):
            yield f"{what} is transposed: its elements are laid out in the reverse order of dimensions"
    for dim in range(got.dim()):
        if got.shape[dim] > 1:
            if _close(got, expected.flip(dim)):
                yield f"{what} is flipped along dimension {dim}"
            for shift in (-1, 1):
                if _close(got, expected.roll(shift, dim)):
                    yield f"{what} is shifted by one along dimension {dim}: a stride or index is off by one"
            mean = expected.mean(dim, keepdim=True).expand_as(expected)
            if _close(got, mean) or _close(got, mean * got.shape[dim]):
                yield f"{what} is summed over dimension {dim}, which is to be kept"
    if got.numel() > 2 and _close(got.flatten().sort().values, expected.flatten().sort().values):
        yield f"{what} has the right values in the wrong places: a wrong stride, index or order of gates"


def _region(row: Row, got: Tensor, expected: Tensor, what: str) -> Iterator[str]:
    wrong = (got - expected).abs() > row.tolerance
    if bool(wrong.all()):
        return
    for x in _leaves(row):
        if x.shape == wrong.shape:
            for name, where in (("negative", x < 0), ("positive", x > 0), ("zero", x == 0)):
                if torch.equal(wrong, where) or (bool(where.any()) and bool(where[wrong].all())):
                    yield f"only where the input is {name}: a branch or a clamp is wrong"
    for dim in range(wrong.dim()):
        size = wrong.shape[dim]
        rest = [d for d in range(wrong.dim()) if d != dim]
        bad = wrong.sum(rest).bool() if rest else wrong
        places = [i for i in range(size) if bool(bad[i])]
        if size > 2 and len(places) <= size // 2:
            edge = ", its edge: padding or the last window" if set(places) <= {0, size - 1} else ""
            yield f"only at {places} along dimension {dim}{edge}"


def _term(got: Tensor, expected: Tensor, what: str) -> Iterator[str]:
    difference = expected - got
    for dim in range(difference.dim()):
        if difference.shape[dim] > 1:
            mean = difference.mean(dim, keepdim=True).expand_as(difference)
            if _close(difference, mean):
                yield f"a term is missing or wrong that is constant along dimension {dim}, like a mean or a sum"
    if got.numel() > 1:
        yield f"a term or factor of {what} is missing or wrong" if _related(got, expected) else ""


def _related(got: Tensor, expected: Tensor) -> bool:
    """Whether they point roughly the same way."""
    return float((got * expected).sum() / (got.norm() * expected.norm()).clamp(min=1e-300)) > 0.3


def _leaves(row: Row) -> Sequence[Tensor]:
    return [x.detach() for x in row.evidence.examination.call.leaves()] if row.evidence else []


def _apart(noted: Noted) -> bool:
    assert noted.got is not None
    assert noted.expected is not None
    wanted = (noted.expected if noted.truth is None else noted.truth).double()
    digits = 1e-9 if noted.got.dtype is torch.float64 else 8 * torch.finfo(noted.got.dtype).eps
    return not _close(noted.got.double(), wanted, digits)


def _close(a: Tensor, b: Tensor, digits: float = 1e-5) -> bool:
    scale = max(float(b.abs().max()), 1e-300) if b.numel() else 1.0
    return a.shape == b.shape and torch.allclose(a, b, rtol=digits, atol=digits / 10 * scale, equal_nan=True)


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-5 * abs(b)


LOOKS: tuple[Callable[[Row], Iterator[str]], ...] = (_by_message, _by_check, _by_upstreams, _by_numbers)
