"""Custom operators: their schema, autograd registration and fake, as `torch.library.opcheck` tests them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch._library.custom_ops import OPDEFS, CustomOpDef
from torch._ops import OpOverload, OpOverloadPacket
from torch.utils._python_dispatch import TorchDispatchMode

from scratchnet.testing.examination import Examination, summary
from scratchnet.testing.offers import lacking
from scratchnet.testing.quantities import Recording, fresh
from scratchnet.testing.subject import mapped

__all__ = ["opcheck"]

Operator = CustomOpDef | OpOverload | OpOverloadPacket
# An operator inside a function needs no autograd formula, since the function may have one.
INSIDE = ("test_schema", "test_faketensor")


def opcheck(e: Examination) -> None:
    """Runs `torch.library.opcheck` where the function is a custom operator, or calls some."""
    if isinstance(operator := e.ours.function, Operator):
        call = fresh(e.call)
        _add(e, operator, call.inputs, call.options)
        return
    defined = {name for name, each in OPDEFS.items() if not each._init_fn.__module__.startswith("torch.")}
    if not defined:
        return
    with suppress(Exception), _Operators(defined) as seen:  # what it raises, other checks report
        recording = Recording(e.ours, e.call)
        recording.gradients(e.upstreams[0].given if e.upstreams else ())
    for name, (inside, inputs, options) in seen.calls.items():
        _add(e, inside, inputs, options, INSIDE, f" of {name}")


class _Operators(TorchDispatchMode):
    """Records the first call of each of these custom operators, in either direction."""

    def __init__(self, defined: Collection[str]) -> None:
        super().__init__()
        self.defined = defined
        self.calls: dict[str, tuple[OpOverload, tuple[Any, ...], dict[str, Any]]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options, name = kwargs or {}, func._schema.name
        if name in self.defined:
            self.calls.setdefault(name, (func, mapped(_copied, args), mapped(_copied, options)))
        return func(*args, **options)


def _copied(x: Any) -> Any:
    return x.detach().clone() if isinstance(x, torch.Tensor) else x


def _add(
    e: Examination,
    operator: Operator,
    inputs: tuple[Any, ...],
    options: dict[str, Any],
    tests: str | Sequence[str] = torch.library._OPCHECK_DEFAULT_UTILS,
    of: str = "",
) -> None:
    found = torch.library.opcheck(operator, inputs, options, test_utils=tests, raise_exception=False)
    for test, said in found.items():
        quantity = f"{e.prefix}opcheck {test.removeprefix('test_')}{of}"
        if not isinstance(said, Exception):
            e.findings.add(quantity, "exact")
        elif (missing := lacking(said)) and "opcheck" not in e.findings.required:
            e.findings.add(quantity, "not offered", missing)
        else:
            e.findings.add(quantity, "differs", summary(said), examination=e)
