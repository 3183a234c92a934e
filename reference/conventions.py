"""Where ours goes beyond the built-in, as a page of the documentation: both answers beside each other."""

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
lists the exceptions: calls for which the built-in returns NaN, infinity or an error though mathematics has a value,
or returns a number where the arguments make no sense. The gradients are those of the sum of the outputs.
`python -m reference --conventions` writes this page from the catalog.

| op | when | built-in | scratchnet |
|---|---|---|---|
"""


class Answer(NamedTuple):
    """What a call gives: its output and gradients, or its error."""

    output: Tensor | None
    gradients: tuple[Tensor, ...] = ()
    error: str = ""

    def __str__(self) -> str:
        if self.output is None:
            return self.error.replace("|", "\\|")
        slopes = "; ".join(_written(g) for g in self.gradients)
        return _written(self.output) + (f", gradient {slopes}" if slopes else "")


def answer(record: Record, beyond: Beyond, side: int, dtype: torch.dtype = torch.float64) -> Answer:
    """The answer of ours (side 0) or of the built-in (side 1) to a call."""
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
    """The page."""
    rows = [
        f"| `{record.name}` | {beyond.when} | {answer(record, beyond, 1)} | {answer(record, beyond, 0)} |"
        for record in RECORDS.values()
        for beyond in record.beyond
    ]
    return HEAD + "\n".join(rows) + "\n"


def _written(tensor: Tensor) -> str:
    """A tensor's numbers, short."""
    if tensor.dim() == 0:
        return f"{tensor.item():.4g}".replace("e+", "e")
    return "[" + ", ".join(_written(t) for t in tensor) + "]"
