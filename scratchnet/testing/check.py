"""Checks a function that no built-in equals, by differences of its own values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from scratchnet.testing.checks import CHECKS
from scratchnet.testing.compare import call_of, chosen, derivatives, examine, name_of, required
from scratchnet.testing.comparison import Comparison
from scratchnet.testing.examination import Examination
from scratchnet.testing.findings import Findings
from scratchnet.testing.numerical import NumericalSubject
from scratchnet.testing.quantities import Recording
from scratchnet.testing.subject import Call, Subject
from scratchnet.testing.tolerances import by_hand
from scratchnet.testing.upstreams import chosen_kinds

__all__ = ["check"]

NEEDS_A_BUILTIN = ("third_derivative", "autocast", "dtypes", "special_values", "memory")


def check(
    function: Callable[..., Any],
    *inputs: Any,
    thorough: bool = True,
    seed: int = 0,
    name: str | None = None,
    **options: Any,
) -> Comparison:
    """Checks the derivatives of a function against differences of its values, and how it behaves.

    In float64, unless the function raises there and takes its inputs in the dtype in which they are given. First
    derivatives must equal complex steps where the function takes complex numbers and is analytic, else extrapolated
    differences; second derivatives differences of the first; and everything else that `compare` examines and that
    needs no built-in holds too. Where an input sits on a kink, derivatives are reported as not compared, with its
    place, and nothing is said to agree.

    Args:
        function: the function or module.
        *inputs: its positional arguments.
        thorough: every check that needs no built-in; otherwise the usual ones of `compare`.
        seed: as for `compare`.
        name: heads the table; by default the function's name.
        **options: its keyword arguments; those under the names of `compare`'s checks turn these on or off, and
            ``order``, ``modes``, ``upstreams``, ``rtol``, ``atol`` and ``device`` mean what they mean there.

    Returns:
        A `Comparison`.

    Example:
        >>> import torch
        >>> x = torch.linspace(-1, 1, 6)
        >>> check(torch.sin, x).ok
        True
        >>> wrong = lambda x: x.sin() + x.detach()
        >>> print(check(wrong, x, name="wrong").failures[0].quantity)
        gradient of input
    """
    asked = {key: options.pop(key) for key in CHECKS if key in options}
    compile = asked.get("compile")
    backend = compile if isinstance(compile, str) else "aot_eager" if compile is None else "inductor"
    own = by_hand(options.pop("rtol", None), options.pop("atol", None))
    device = options.pop("device", None)
    kinds = chosen_kinds(options.pop("upstreams", None))
    asked |= derivatives(options.pop("order", None), options.pop("modes", None)) | asked
    call = call_of(function, function, inputs, options, seed, device=device)
    if _takes(function, wide := call.to(torch.float64)) or not _takes(function, call):
        call = wide
    checks = [key for key in chosen(asked, thorough) if key not in NEEDS_A_BUILTIN]
    findings = Findings(checks=checks, required=required(asked), by_hand=own, kinds=kinds)
    e = Examination(Subject(function), NumericalSubject(function), call, findings, backend, numerical=True)
    return Comparison(name or name_of(function), examine(e))


def _takes(function: Callable[..., Any], call: Call) -> bool:
    try:
        Recording(Subject(function), call)
    except Exception:  # whatever it raises
        return False
    return True
