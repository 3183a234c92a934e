"""Causes that the numbers themselves give away: their sign, factor, places, and where they are wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from scratchnet.testing.comparison import Finding, Row
from scratchnet.testing.diagnosis.closeness import apart, close
from scratchnet.testing.diagnosis.probes import input_for_output, other_arguments
from scratchnet.testing.examination import Examination

__all__ = ["CONSTANT", "by_numbers", "patterns"]

CONSTANT = (
    "an intermediate is taken for a constant: compute it again in the backward, or mark that once_differentiable"
)
NEARLY = 2e-2
MOST = 0.8


def by_numbers(row: Row) -> Iterator[str]:
    """Causes by the numbers of a row."""
    if row.evidence and row.evidence.examination.numerical and row.check == "gradients":
        cause = next(patterns(row, "the gradient"), "")
        meant = "if that is meant, name the function that it belongs to: compare(..., gradient_of=...)"
        yield f"the gradient is not the derivative of forward; {cause + '; ' if cause else ''}{meant}"
    yield from patterns(row, "the gradient" if "gradient" in row.quantity else "the value")


def patterns(row: Row, what: str) -> Iterator[str]:
    """Yields causes by the pattern of a row's numbers, the most telling first; ``what`` names them."""
    if row.evidence is None or not row.evidence.findings:
        return
    finding = next((n for n in row.evidence.findings if n.kind == "random" and apart(n)), None)
    finding = finding or row.evidence.findings[row.evidence.worst]
    assert finding.got is not None
    assert finding.expected is not None
    got, expected = finding.got.double(), (finding.expected if finding.truth is None else finding.truth).double()
    if bool(got.isnan().any()) and not bool(expected.isnan().any()):
        yield f"{what} is NaN where it should not be: 0/0, 0·∞ or ∞ − ∞, as after an overflow or the logarithm of zero"
    if bool(got.isinf().any()) and not bool(expected.isinf().any()):
        yield f"{what} is infinite where it should not be: an overflow, a division by zero, or the logarithm of zero"
    if not bool(got.isfinite().all()) or not bool(expected.isfinite().all()):
        return
    if not bool(got.any()) and bool(expected.any()):
        yield _zero(row, what)
    yield from _factor(row, got, expected, what)
    yield from other_arguments(row, finding, what)
    yield from _places(row, got, expected, what)
    yield from _region(row, finding, got, expected)
    yield from _nearly(got, expected, what)
    yield from input_for_output(row, finding, what)
    yield from _scaled(row, what)
    yield from _term(got, expected)


def _zero(row: Row, what: str) -> str:
    if row.check in ("double_backward", "third_derivative"):
        return CONSTANT
    return f"{what} is zero throughout"


def _factor(row: Row, got: Tensor, expected: Tensor, what: str) -> Iterator[str]:
    factor = float((got * expected).sum() / expected.square().sum()) if bool(expected.any()) else 0.0
    if not factor or not close(got, factor * expected):
        return
    if _near(factor, 1):
        yield f"{what} has too few digits: a shorter dtype on the way, or a constant that is not exact"
    if _near(factor, -1):
        yield f"{what} has the wrong sign"
    for name, number in _numbers(row):
        if _near(factor, number) or _near(factor, 1 / number):
            yield f"{what} is off by a constant factor of {factor:.6g}: {name}, which is {number:g}, is left out"
    sizes = {size for x in _leaves(row) for size in (*x.shape, x.numel()) if size > 1}
    batch = {x.shape[0] for x in _leaves(row) if x.dim()}
    for by, said in ((factor, "too large"), (1 / factor, "too small")):
        if any(_near(by, size) for size in sorted(sizes)):
            name = "the batch size" if any(_near(by, n) for n in batch) else "a size of the input"
            yield f"{what} is {said} by a factor of {round(by)}, {name}: a mean taken for a sum, or the reverse"
    yield f"{what} is off by a constant factor of {factor:.6g}"


def _places(row: Row, got: Tensor, expected: Tensor, what: str) -> Iterator[str]:
    if got.dim() > 1 and got.numel() > 1:
        for i in range(got.dim()):
            for j in range(i + 1, got.dim()):
                if got.shape[i] == got.shape[j] and close(got, expected.transpose(i, j)):
                    yield f"{what} is transposed: dimensions {i} and {j} are swapped"
        if close(got.flatten(), expected.permute(*reversed(range(got.dim()))).flatten()):
            yield f"{what} is transposed: its elements are laid out in the reverse order of dimensions"
    for dim in range(got.dim()):
        if got.shape[dim] > 1:
            if close(got, expected.flip(dim)):
                yield f"{what} is flipped along dimension {dim}"
            for shift in (-1, 1):
                if close(got, expected.roll(shift, dim)):
                    yield f"{what} is shifted by one along dimension {dim}: a stride or index is off by one"
            mean = expected.mean(dim, keepdim=True).expand_as(expected)
            if close(got, mean) or close(got, mean * got.shape[dim]):
                yield f"{what} is summed over dimension {dim}, which is to be kept"
    if got.numel() > 2 and close(got.flatten().sort().values, expected.flatten().sort().values):
        yield f"{what} has the right values in the wrong places: a wrong stride, index or order of gates"


def _region(row: Row, finding: Finding, got: Tensor, expected: Tensor) -> Iterator[str]:
    wrong = (got - expected).abs() > row.tolerance
    if bool(wrong.all()) or not bool(wrong.any()):
        return
    yield from _by_value(
        wrong, [(name, x.detach()) for name, x in _beside(row, finding) if x.shape == wrong.shape]
    )
    for dim in range(wrong.dim()):
        size = wrong.shape[dim]
        rest = [d for d in range(wrong.dim()) if d != dim]
        bad = wrong.sum(rest).bool() if rest else wrong
        places = [i for i in range(size) if bool(bad[i])]
        for x in _constants(row):
            numbers, counts = x.unique(return_counts=True)
            if not x.is_floating_point() and places == [int(n) for n in numbers[counts > 1] if 0 <= n < size]:
                yield f"only at {places}, which an index names more than once: add there (index_add), do not overwrite"
        if size > 2 and len(places) <= size // 2:
            edge = ", its edge: padding or the last window" if set(places) <= {0, size - 1} else ""
            yield f"only at {places} along dimension {dim}{edge}"


def _beside(row: Row, finding: Finding) -> Iterator[tuple[str, Tensor]]:
    """Yields tensors that a branch may depend on: inputs, their differences, the output, the upstream."""
    assert row.evidence is not None
    e: Examination = row.evidence.examination
    leaves = _leaves(row)
    yield from (("the input", x) for x in leaves)
    yield from (("the difference of two inputs", y - x) for x, y in pairwise(leaves) if x.shape == y.shape)
    yield from (("the output", y) for y in e.recording(e.theirs, e.call).outputs)
    upstream = next((u for u in e.upstreams if u.kind == finding.kind), None)
    yield from (("grad_output", u) for u in (upstream.given if upstream else ()) if u is not None)


def _by_value(wrong: Tensor, beside: Sequence[tuple[str, Tensor]]) -> Iterator[str]:
    """Whether elements are wrong exactly where something beside them is negative, large and so on."""
    said = "a branch or a clamp is wrong"
    beside = [(name, x) for name, x in beside if not x.is_complex() and x.numel() > 5]
    for name, x in beside:
        for how, where in (("negative", x < 0), ("positive", x > 0), ("zero", x == 0), ("not zero", x != 0)):
            if torch.equal(wrong, where):
                yield f"only where {name} is {how}: {said}"
    for name, x in beside:
        for how, size in (("large", x.abs()), ("above a bound", x), ("below a bound", -x)):
            if float(size[wrong].min()) > float(size[~wrong].max()):
                if int(wrong.sum()) > 1:
                    yield f"only where {name} is {how}: {said}"
                elif how != "large":
                    yield f"only where {name} is {'largest' if how == 'above a bound' else 'smallest'}: {said}"
        outside = (x > x[~wrong].max()) | (x < x[~wrong].min())
        if int(wrong.sum()) > 1 and int((~wrong).sum()) > 2 and bool(outside[wrong].all()):
            yield f"only where {name} is out of bounds: {said}"
    for name, x in beside:
        for how, where in (("negative", x < 0), ("positive", x > 0)):
            if int(wrong.sum()) > 2 and bool(where[wrong].all()):
                yield f"only where {name} is {how}: {said}"


def _term(got: Tensor, expected: Tensor) -> Iterator[str]:
    difference = expected - got
    for dim in range(difference.dim()):
        if difference.shape[dim] > 1:
            mean = difference.mean(dim, keepdim=True).expand_as(difference)
            if close(difference, mean):
                yield f"a term is missing or wrong that is constant along dimension {dim}, like a mean or a sum"


def _nearly(got: Tensor, expected: Tensor, what: str) -> Iterator[str]:
    near = (got - expected).abs() <= NEARLY * expected.abs()
    if got.numel() > 1 and int(near.sum()) >= MOST * near.numel():
        yield f"{what} is nearly right: an approximate formula, an inexact constant, or an eps that is left out"


def _scaled(row: Row, what: str) -> Iterator[str]:
    """Whether a factor that depends on one dimension alone is off, the same under every upstream."""
    assert row.evidence is not None
    pairs = [
        (n.got.double(), n.expected.double())
        for n in row.evidence.findings
        if n.got is not None and n.expected is not None
    ]
    got, expected = pairs[0]
    for dim in range(got.dim()):
        rest = [d for d in range(got.dim()) if d != dim]
        if rest and len(pairs) > 1 and min(got.shape[dim], got.numel() // got.shape[dim]) > 1:
            factor = (got * expected).sum(rest, keepdim=True) / expected.square().sum(rest, keepdim=True)
            if all(close(a, factor.nan_to_num() * b) for a, b in pairs):
                yield f"{what} is off by a factor that depends on dimension {dim} alone: a weight or a size is left out"


def _leaves(row: Row) -> Sequence[Tensor]:
    return [x.detach() for x in row.evidence.examination.call.leaves()] if row.evidence else []


def _constants(row: Row) -> Sequence[Tensor]:
    return [x for x in row.evidence.examination.call.tensors() if not x.requires_grad] if row.evidence else []


def _numbers(row: Row) -> Iterator[tuple[str, float]]:
    """The numbers among the arguments, by name."""
    if row.evidence is not None:
        call = row.evidence.examination.call
        for name, x in [*((f"argument {i}", x) for i, x in enumerate(call.inputs)), *call.options.items()]:
            if isinstance(x, int | float) and not isinstance(x, bool) and abs(x) not in (0, 1):
                yield name, float(x)


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-5 * abs(b)
