"""``python -m tests.testing.faults``: how many of the planted faults `gradcheck` finds, and how many `compare`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from scratchnet.testing import compare
from scratchnet.testing.checks import ALWAYS

from . import FAULTS, TWINS, Fault, Twin


def gradcheck_finds(function: Callable[..., Any], inputs: tuple[Any, ...]) -> bool:
    """Whether `torch.autograd.gradcheck` with its defaults says that a function is wrong."""
    leaves = [x.clone().requires_grad_() if torch.is_tensor(x) and x.is_floating_point() else x for x in inputs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return not torch.autograd.gradcheck(function, leaves)
        except Exception:  # it raises what it finds
            return True


def compare_finds(fault: Fault) -> bool:
    """Whether `compare`, with the checks that should, says so."""
    asked = {check: True for check in fault.checks if check not in ALWAYS}
    return not compare(fault.apply, fault.twin.builtin, *sample(fault.twin), **asked).ok


def sample(twin: Twin) -> tuple[Any, ...]:
    """Inputs of a twin."""
    return twin.inputs(torch.Generator().manual_seed(0))


def main() -> None:
    """Prints each fault, and who finds it."""
    # Before `compare` has filled any memory with NaN, which a later torch.empty may find.
    by_gradcheck = {name: gradcheck_finds(fault.apply, sample(fault.twin)) for name, fault in FAULTS.items()}
    by_compare = {name: compare_finds(fault) for name, fault in FAULTS.items()}
    flagged = sum(gradcheck_finds(twin.apply, sample(twin)) for twin in TWINS.values())
    width = max(map(len, FAULTS))
    for name, fault in FAULTS.items():
        marks = ["finds it" if by[name] else "-" for by in (by_gradcheck, by_compare)]
        print(f"{name:{width}}  {fault.kind:24} gradcheck {marks[0]:9} compare {marks[1]}")
    print(
        f"of {len(FAULTS)} faults in {len({f.kind for f in FAULTS.values()})} kinds gradcheck with its defaults finds "
        f"{sum(by_gradcheck.values())}, compare {sum(by_compare.values())}; "
        f"of {len(TWINS)} correct twins gradcheck flags {flagged}"
    )


if __name__ == "__main__":
    main()
