"""``python -m tests.testing.faults``: how many of the planted faults `gradcheck` finds, and how many `compare`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from scratchnet.testing import compare

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


def compare_finds(fault: Fault, thorough: bool) -> bool:
    """Whether `compare` says so."""
    return not compare(fault.apply, fault.twin.builtin, *sample(fault.twin), thorough=thorough).ok


def sample(twin: Twin) -> tuple[Any, ...]:
    """Inputs of a twin."""
    return twin.inputs(torch.Generator().manual_seed(0))


def main() -> None:
    """Prints each fault, and who finds it."""
    # Before `compare` has filled any memory with NaN, which a later torch.empty may find.
    found = {
        "gradcheck": {name: gradcheck_finds(fault.apply, sample(fault.twin)) for name, fault in FAULTS.items()}
    }
    flagged = sum(gradcheck_finds(twin.apply, sample(twin)) for twin in TWINS.values())
    found["compare"] = {name: compare_finds(fault, thorough=False) for name, fault in FAULTS.items()}
    found["thorough"] = {name: compare_finds(fault, thorough=True) for name, fault in FAULTS.items()}
    wrongly = sum(
        not compare(twin.apply, twin.builtin, *sample(twin), thorough=True).ok for twin in TWINS.values()
    )
    width = max(map(len, FAULTS))
    for name, fault in FAULTS.items():
        marks = "  ".join(f"{who} {'finds it' if by[name] else '-':8}" for who, by in found.items())
        print(f"{name:{width}}  {fault.kind:24} {marks}".rstrip())
    by_gradcheck, by_compare, thoroughly = (sum(by.values()) for by in found.values())
    print(
        f"of {len(FAULTS)} faults in {len({f.kind for f in FAULTS.values()})} kinds gradcheck with its defaults finds "
        f"{by_gradcheck}, compare with its defaults {by_compare}, with thorough=True {thoroughly}; "
        f"of {len(TWINS)} correct twins gradcheck flags {flagged}, compare with thorough=True {wrongly}"
    )


if __name__ == "__main__":
    main()
