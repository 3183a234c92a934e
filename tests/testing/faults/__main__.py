"""``python -m tests.testing.faults``: which of the planted faults each checker finds, and what it wrongly flags."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from ..ordinary import ORDINARY
from . import FAULTS, TWINS
from .checkers import CHECKERS


def sample(make: Any) -> tuple[Any, ...]:
    """Inputs, always the same."""
    return tuple(make(torch.Generator().manual_seed(0)))


def counted(found: list[bool | None]) -> str:
    """Counts those to which a checker applies."""
    applies = [says for says in found if says is not None]
    return f"{sum(applies)} of {len(applies)}"


def main() -> None:
    """Prints a table of the totals in Markdown, and each fault."""
    warnings.simplefilter("ignore")
    rights = [(o.custom, o.builtin, o.inputs, o.gradient_of) for o in ORDINARY.values()]
    rights += [(t.apply, t.builtin, t.inputs, None if t.derivable else t.builtin) for t in TWINS.values()]
    print(f"| checker | wrong Functions found, of {len(FAULTS)} | right ones flagged, of {len(rights)} |")
    print("|---|---|---|")
    found: dict[str, list[bool | None]] = {}
    # `compare(thorough=True)` is the last, since it fills memory with NaN, which a later torch.empty may find.
    for name, says in CHECKERS.items():
        found[name] = [says(f.apply, f.twin.builtin, sample(f.twin.inputs)) for f in FAULTS.values()]
        flagged = [
            says(function, builtin, sample(inputs), gradient_of=gradient_of)
            for function, builtin, inputs, gradient_of in rights
        ]
        print(f"| {name} | {counted(found[name])} | {counted(flagged)} |", flush=True)
    width = max(map(len, FAULTS))
    print("\nEach fault, its kind, and whether it is found, by each of these in turn:")
    for i, (name, fault) in enumerate(FAULTS.items()):
        marks = "  ".join({True: "x", False: "-", None: " "}[by[i]] for by in found.values())
        print(f"{name:{width}}  {fault.kind:24} {marks}".rstrip())


if __name__ == "__main__":
    main()
