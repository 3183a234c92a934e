"""Writes the page of conventions: calls where ours differs from the built-in, with both results."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from reference.catalog import RECORDS, Beyond, Make, Record

__all__ = ["CONVENTIONS", "Answer", "answer", "conventions"]

CONVENTIONS = Path(__file__).parents[1] / "docs" / "conventions.md"

HEAD = """# Conventions

PyTorch decides what an op does at kinks, ties, infinities and on empty inputs, and scratchnet follows it. The table
lists the exceptions: calls for which the built-in returns NaN or infinity or raises an error although the result is
mathematically defined, or returns a number for invalid arguments. Gradients are those of the sum of the outputs.
`python -m reference --conventions` writes this page from the catalog.

| op | when | built-in | scratchnet |
|---|---|---|---|
"""


class Answer(NamedTuple):
    """The result of a call: output and gradients, or an error."""

    output: Tensor | None
    gradients: tuple[Tensor, ...] = ()
    error: str = ""

    def __str__(self) -> str:
        if self.output is None:
            return self.error.replace("|", "\\|")
        slopes = "; ".join(_written(g) for g in self.gradients)
        return _written(self.output) + (f", gradient {slopes}" if slopes else "")


def answer(record: Record, beyond: Beyond, side: int, dtype: torch.dtype = torch.float64) -> Answer:
    """Returns the result of ours (side 0) or of the built-in (side 1)."""
    sample = beyond.sample(Make(dtype))
    function: Callable[..., Any] = record.sides(sample)[side]
    leaves = [x for x in (*sample.inputs, *sample.options.values()) if isinstance(x, Tensor) and x.requires_grad]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = function(*sample.inputs, **sample.options)
            output = result[0] if isinstance(result, tuple) else result
            if not leaves:
                return Answer(output)
            found = torch.autograd.grad(output.sum(), leaves, materialize_grads=True)
        except Exception as error:
            return Answer(None, error=f"{type(error).__name__}: {str(error).splitlines()[0]}")
    return Answer(output.detach(), found)


def conventions() -> str:
    rows = [
        f"| `{record.name}` | {beyond.when} | {answer(record, beyond, 1)} | {answer(record, beyond, 0)} |"
        for record in RECORDS.values()
        for beyond in record.beyond
    ]
    return HEAD + "\n".join(rows) + "\n"


def _written(tensor: Tensor) -> str:
    """Formats a tensor's numbers briefly."""
    if tensor.dim() == 0:
        return f"{tensor.item():.4g}".replace("e+", "e")
    return "[" + ", ".join(_written(t) for t in tensor) + "]"
