"""A few lines of Python that show a disagreement again."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload, OpOverloadPacket

from scratchnet.testing.comparison import Row
from scratchnet.testing.findings import Findings
from scratchnet.testing.quantities import Recording
from scratchnet.testing.subject import Call, Subject, as_real
from scratchnet.testing.tolerances import UNITS

__all__ = ["reproduction"]

MANY = 64


def reproduction(row: Row, ours: Subject, theirs: Subject, call: Call, numerical: bool, findings: Findings) -> str:
    """The script: imports, both functions, the inputs, and the check that fails."""
    imports, custom = _source(ours.function, "custom", "your function")
    lines = ["import torch", "from torch import inf, nan", *imports, custom]
    if not numerical:
        imports, builtin = _source(theirs.function, "builtin", "what it should equal")
        lines[2:2] = imports
        lines.append(builtin)
    positional = [_argument(f"input{i}", x, lines) for i, x in enumerate(call.inputs)]
    by_name = [f"{name}={_argument(name, x, lines)}" for name, x in call.options.items()]
    arguments = ", ".join([*positional, *by_name])
    plain = not (numerical or call.parameters or findings.by_hand) and _shows(row, ours, theirs, call)
    direct = _direct(row, arguments, call) if plain else []
    if direct:
        return "\n".join([*filter(None, lines), *direct])
    sides = "custom" if numerical else "custom, builtin"
    function = "check" if numerical else "compare"
    asked = "" if row.check in ("", "output", "gradients") else f", {row.check}=True"
    asked += f", roundings={findings.roundings}" if findings.roundings != UNITS else ""
    for i, keyword in enumerate(("rtol", "atol") if findings.by_hand else ()):
        values = {dtype: tolerance[i] for dtype, tolerance in findings.by_hand.items()}
        alike = set(values.values())
        asked += f", {keyword}={alike.pop() if len(alike) == 1 else values}"
    asked += f", seed={call.seed}" if call.seed else ""
    lines.insert(2, f"from scratchnet.testing import {function}")
    return "\n".join([*filter(None, lines), f"print({function}({sides}, {arguments}{asked}))  # {row.quantity}"])


def _direct(row: Row, arguments: str, call: Call) -> list[str]:
    """The comparison without this library, for an output or a gradient under one upstream."""
    tolerance = f", rtol=0, atol={row.tolerance:.6g}" if row.tolerance else ""
    if row.quantity == "output":
        return [f"torch.testing.assert_close(custom({arguments}), builtin({arguments}){tolerance})"]
    wanted = re.fullmatch(r"gradient of (?:input ?)?(\d*)", row.quantity)
    given = _upstream(row)
    if wanted is None or len(given) != 1 or given[0] is None:
        return []
    target = f"input{wanted[1] or next(i for i, x in enumerate(call.inputs) if isinstance(x, Tensor))}"
    return [
        f"upstream = {_tensor(given[0])}",
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


def _shows(row: Row, ours: Subject, theirs: Subject, call: Call) -> bool:
    """Whether a call of its own shows a row: it may take a second one, a backward, or the same random numbers."""
    try:
        sides = [Recording(side, call) for side in (ours, theirs)]
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


def _source(function: Any, name: str, what: str) -> tuple[list[str], str]:
    """Returns imports and an expression for a function, or a place to fill in."""
    for module, path in _places(function):
        owner, _, attribute = path.partition(".")
        if not _is_at(function, module, path):
            continue
        if not attribute:
            return [f"from {module} import {path} as {name}"], ""
        return [f"from {module} import {owner}"], f"{name} = {path}"
    named = not isinstance(function, nn.Module | OpOverload | OpOverloadPacket)
    shown = getattr(function, "__qualname__", function) if named else function
    shown = getattr(getattr(function, "__self__", None), "__qualname__", shown)  # the Function of an ``apply``
    return [], f"{name} = ...  # {what}: {' '.join(repr(shown).split())}"


def _places(function: Any) -> Iterator[tuple[str, str]]:
    """Modules and paths under which a function may be found."""
    path = getattr(function, "__qualname__", "")
    short = getattr(function, "__name__", "")
    owner = getattr(function, "__self__", None)
    if isinstance(owner, type):
        path, function = f"{owner.__qualname__}.{short}", owner
    places = [
        (getattr(function, "__module__", None) or "", path),
        ("torch", short),
        ("torch.nn.functional", short),
    ]
    # A private module of torch's last.
    yield from sorted(places, key=lambda place: place[0].startswith("torch._"))


def _is_at(function: Any, module: str, path: str) -> bool:
    """Whether an import of the module finds the function there."""
    found: Any = sys.modules.get(module)
    if found is None or module == "__main__" or not path:
        return False
    for part in path.split("."):
        found = getattr(found, part, None)
    return found is not None and bool(found == function)


def _argument(name: str, x: Any, lines: list[str]) -> str:
    """An expression for an argument; each tensor in it gets a line of its own, and a name."""
    if isinstance(x, Tensor):
        lines.append(f"{name} = {_tensor(x)}")
        return name
    if not isinstance(x, tuple | list):
        return repr(x)
    parts = [_argument(f"{name}_{i}", part, lines) for i, part in enumerate(x)]
    return f"[{', '.join(parts)}]" if isinstance(x, list) else f"({''.join(f'{part}, ' for part in parts)})"


def _tensor(x: Tensor) -> str:
    """An expression for a tensor: its values, or, of many, values like them."""
    grad = ", requires_grad=True" if x.requires_grad else ""
    kind = f"dtype={x.dtype}"
    if x.numel() > MANY or x.numel() == 0:
        return f"torch.{'randn' if x.is_floating_point() else 'zeros'}({tuple(x.shape)}, {kind}{grad})"
    dense = x.detach().cpu()
    plain = f"torch.tensor({dense.tolist()}, {kind}{grad})"
    if x.is_contiguous():
        return plain
    if any(stride == 0 and size > 1 for stride, size in zip(x.stride(), x.shape, strict=True)):
        own = dense[tuple(slice(None) if stride else slice(1) for stride in x.stride())]
        return f"torch.tensor({own.tolist()}, {kind}).expand{tuple(x.shape)}" + (
            ".requires_grad_()" if grad else ""
        )
    layout = f"torch.empty_strided({tuple(x.shape)}, {x.stride()}, {kind})"
    return f"{layout}.copy_(torch.tensor({dense.tolist()}, {kind}))" + (".requires_grad_()" if grad else "")
