"""A few lines of Python that show a disagreement again."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from scratchnet.testing.comparison import Row
from scratchnet.testing.examination import Examination
from scratchnet.testing.expressions import Script, tensor
from scratchnet.testing.findings import Findings
from scratchnet.testing.quantities import Recording, fresh
from scratchnet.testing.subject import Call, SubjectOfTwo, as_real
from scratchnet.testing.tolerances import UNITS

__all__ = ["reproduction"]


def reproduction(row: Row, call: Call, e: Examination) -> str:
    """The script: imports, both functions, the inputs, and the check that fails."""
    script = Script()
    sides = "custom" if e.numerical else "custom, builtin"
    script.name("custom", e.ours.function, "your function")
    if not e.numerical:
        script.name("builtin", e.theirs.function, "what it should equal")
    positional = [script.argument(f"input{i}", x) for i, x in enumerate(call.inputs)]
    arguments = ", ".join(
        [*positional, *(f"{name}={script.argument(name, x)}" for name, x in call.options.items())]
    )
    if direct := _direct(row, positional, arguments, call, e):
        return "\n".join([*script.imports, *script.lines, *direct])
    function = "check" if e.numerical else "compare"
    script.imports.append(f"from scratchnet.testing import {function}")
    asked = _options(row, e.findings, e.backend)
    if isinstance(e.theirs, SubjectOfTwo):
        script.name("surrogate", e.theirs.surrogate.function, "whose gradients it should have")
        asked["gradient_of"] = "surrogate"
    if e.ours.names:
        asked["map"] = repr({ours: theirs for theirs, ours in e.ours.names.items()})
    if call.seed:
        asked["seed"] = str(call.seed)
    words = ", ".join([sides, *filter(None, [arguments]), *(f"{key}={value}" for key, value in asked.items())])
    return "\n".join([*script.imports, *script.lines, f"print({function}({words}))  # {row.quantity}"])


def _options(row: Row, findings: Findings, backend: str) -> dict[str, str]:
    """The keywords that ask for the check of a row, and that decide whether it agrees."""
    asked: dict[str, str] = {}
    if row.check not in ("", "output", "gradients"):
        asked[row.check] = repr(backend) if row.check == "compile" else "True"
    if findings.kinds:
        asked["upstreams"] = repr(tuple(findings.kinds))
    if findings.roundings != UNITS:
        asked["roundings"] = str(findings.roundings)
    for i, keyword in enumerate(("rtol", "atol") if findings.by_hand else ()):
        values = {dtype: tolerance[i] for dtype, tolerance in findings.by_hand.items()}
        alike = set(values.values())
        asked[keyword] = str(alike.pop() if len(alike) == 1 else values)
    return asked


def _direct(row: Row, positional: list[str], arguments: str, call: Call, e: Examination) -> list[str]:
    """The comparison without this library, for an output or a gradient under one upstream; empty where it needs it."""
    if e.numerical or isinstance(e.theirs, SubjectOfTwo) or call.parameters or e.findings.by_hand:
        return []
    tolerance = f", rtol=0, atol={row.tolerance:.6g}" if row.tolerance else ""
    given = _upstream(row)
    wanted = re.fullmatch(r"gradient of (?:input ?)?(\d*)", row.quantity)
    if (row.quantity != "output" and (wanted is None or len(given) != 1 or given[0] is None)) or not _shows(
        row, call, e
    ):
        return []
    if wanted is None:
        return [f"torch.testing.assert_close(custom({arguments}), builtin({arguments}){tolerance})"]
    target = positional[int(wanted[1] or next(i for i, x in enumerate(call.inputs) if isinstance(x, Tensor)))]
    assert given[0] is not None
    return [
        f"upstream = {tensor(given[0])}",
        f"(got,) = torch.autograd.grad(custom({arguments}), {target}, upstream)",
        f"(expected,) = torch.autograd.grad(builtin({arguments}), {target}, upstream)",
        f"torch.testing.assert_close(got, expected{tolerance})",
    ]


def _upstream(row: Row) -> list[Tensor | None]:
    """The upstream under which a row is worst."""
    if row.evidence is None or not row.evidence.findings:
        return []
    kind = row.evidence.findings[row.evidence.worst].kind
    return next((u.given for u in row.evidence.examination.upstreams if u.kind == kind), [])


def _shows(row: Row, call: Call, e: Examination) -> bool:
    """Whether a call of its own shows a row: it may take a second one, a backward, or the same random numbers."""

    def returns_a_tensor(function: Any) -> bool:
        own = fresh(call)
        with torch.random.fork_rng(devices=()):
            return isinstance(function(*own.inputs, **own.options), Tensor)

    try:
        if not all(returns_a_tensor(side.function) for side in (e.ours, e.theirs)):
            return False
        sides = [Recording(side, call) for side in (e.ours, e.theirs)]
        given = _upstream(row)
        found = [side.gradients(given) if given else side.forward() for side in sides]
        got, expected = (side.get(row.quantity) for side in found)
    except Exception:  # what raises shows itself
        return True
    if any(side.draws for side in sides):
        return False
    if got is None or expected is None or got.shape != expected.shape or not row.tolerance:
        return True
    return not torch.allclose(as_real(got).double(), as_real(expected).double(), rtol=0, atol=row.tolerance)
