"""Custom operators: their schema, autograd registration and fake, as `torch.library.opcheck` tests them."""

from __future__ import annotations

from typing import cast

import torch
from torch._library.custom_ops import CustomOpDef

from scratchnet.testing.examination import Examination, summary
from scratchnet.testing.offers import lacking
from scratchnet.testing.quantities import fresh

__all__ = ["opcheck"]


def opcheck(e: Examination) -> None:
    """Runs `torch.library.opcheck` where the function is a custom operator."""
    if not e.ours.is_operator:
        return
    call, function = fresh(e.call), cast(CustomOpDef, e.ours.function)
    found = torch.library.opcheck(function, call.inputs, call.options, raise_exception=False)
    for test, said in found.items():
        quantity = f"{e.prefix}opcheck {test.removeprefix('test_')}"
        if not isinstance(said, Exception):
            e.findings.add(quantity, "exact")
        elif (missing := lacking(said)) and "opcheck" not in e.findings.required:
            e.findings.add(quantity, "not offered", missing)
        else:
            e.findings.add(quantity, "differs", summary(said), examination=e)
