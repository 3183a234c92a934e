"""Causes that an error message, or the check that failed, gives away."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from scratchnet.testing.comparison import Row
from scratchnet.testing.diagnosis.numbers import CONSTANT, patterns
from scratchnet.testing.examination import Examination

__all__ = ["UNUSED", "by_check", "by_message"]

UNUSED = "it assumes that every output has an upstream gradient: that of an unused output is None"
# What an error says, and what is wrong then.
SAID = (
    (
        r"incorrect number of gradients",
        "the backward returns the wrong number of gradients: it owes one for each argument of forward, or None",
    ),
    (r"view size is not compatible", "it calls view on a tensor that is not contiguous: use reshape"),
    (
        r"more than one element of the written-to",
        "it works in place on a tensor that may be expanded: clone it first",
    ),
    (r"Trying to backward through", "the custom operator has no backward: add one with register_autograd"),
    (r"may not alias|must not also be an input", "the custom operator returns an alias of its input: clone it"),
    (r"use_reentrant=True", "a reentrant checkpoint, which autograd.grad cannot enter: use_reentrant=False"),
    (r"modified by an inplace operation", "a saved tensor is changed in place before the backward needs it"),
)


def by_message(row: Row) -> Iterator[str]:
    """Causes by the note of a row."""
    found = re.search(r"got \[([\d, ]*)\] but expected shape compatible with \[([\d, ]*)\]", row.note)
    if found:
        got, wanted = ([int(n) for n in part.split(",") if n.strip()] for part in found.groups())
        if sorted(got) == sorted(wanted):
            yield "the gradient is transposed"
        yield "the gradient has the wrong shape: a broadcast dimension must be summed, sum_to_size does that"
    yield from (cause for said, cause in SAID if re.search(said, row.note))
    if "shape (" in row.note and row.check != "strided":
        yield "the result has the wrong shape"
    if "dtype torch" in row.note:
        yield "the result has the wrong dtype: convert it to that of the input at the end"
    if "upstream: None" in row.note and (row.verdict == "raises" or row.note.startswith("missing")):
        yield UNUSED
    if row.note.startswith("missing") and row.check == "gradients" and (without := _without_gradient(row)):
        yield f"{without} has no gradient: mark_non_differentiable, detach or NumPy cut it off"
    if row.note.startswith("missing") and row.check not in ("double_backward", "third_derivative"):
        yield "no gradient is returned where one is due"


def _without_gradient(row: Row) -> str:
    """The first output that should have a gradient and has none."""
    if row.evidence is None:
        return ""
    e: Examination = row.evidence.examination
    ours = e.recording(e.ours, e.call).differentiable
    return next((f"output {i}" for i in e.places if i not in ours), "")


def by_check(row: Row) -> Iterator[str]:
    """Causes by the check that failed."""
    if row.quantity.endswith("unchanged"):
        what = row.note.partition("overwrites ")[2].partition(", upstream:")[0]
        yield f"it works in place on {what or 'what it was given'}: copy it first"
    if "takes a gradient" in row.note:
        yield "the output is a constant to the built-in: call ctx.mark_non_differentiable"
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
        yield from patterns(row, "jvp")
        yield (
            "jvp fails"
            if row.verdict == "raises"
            else "jvp is not the derivative of forward; the backward may be right"
        )
    if row.check in ("double_backward", "third_derivative") and (
        row.got == row.got or row.note.startswith("missing")
    ):
        yield CONSTANT
    yield from _by_inputs(row)
    if (row.verdict == "raises" and row.check == "compile") or row.quantity.startswith("opcheck faketensor"):
        yield "the compiler sees other shapes or dtypes than the call: register_fake must return those of the operator"
    if row.verdict == "raises" and re.search(r"vmap|[Bb]atched", row.note):
        yield "no vmap rule that works: set generate_vmap_rule = True and use tensor operations only"


def _by_inputs(row: Row) -> Iterator[str]:
    """Causes by the inputs, made from those that were given, on which it differs."""
    what, _, _ = row.quantity.partition(": ")
    kind, _, where = what.partition(" in ")
    if row.check == "special_values" and row.expected != row.expected and row.got == row.got:
        yield "a NaN is lost on the way: in a comparison, a clamp or a minimum"
    if row.check == "special_values" and math.isfinite(row.got):
        if kind in ("zeros", "negative zeros", "ones", "ties", "halves"):
            yield (
                f"only for {kind} in {where}: a kink or a tie, at which the built-in takes the other branch, or whose "
                "gradient each equal element gets in full: divide it among them, or give it to one"
            )
        if kind == "an offset":
            yield "digits are lost far from zero: a difference of large numbers, such as E[x²] − E[x]²"
    if row.check == "strided" and row.verdict == "differs":
        yield f"only for {what}: it assumes contiguous inputs, and takes a wrong stride"
    if row.check == "empty" and row.verdict == "differs":
        yield "it treats no elements otherwise: a division by at least 1, an early return, or an initial value"
    if row.check == "autocast" and row.verdict == "differs":
        yield "it computes in too short a dtype under autocast: torch.amp.custom_fwd(cast_inputs=torch.float32)"
    if row.check == "dtypes" and row.verdict == "differs":
        yield f"it loses digits in {what}: accumulate in a longer dtype, and round once at the end"
    if row.check == "compile" and row.verdict == "differs":
        yield "it takes another path under torch.compile: is_compiling, or state that the compiler froze"
    if row.check in ("vmap", "vmap_each") and row.verdict == "differs":
        yield "right call by call, wrong for a batch: the vmap rule mixes them"
