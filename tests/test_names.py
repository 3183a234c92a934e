"""Names and parameters match those of ``torch.nn.functional`` and ``torch.nn``, except the names left out."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

from scratchnet import functional, nn

LEFT_OUT = {
    "scaled_grouped_mm": "has no kernel for a CPU to hold ours against",
    **dict.fromkeys(("assert_int_or_pair", "boolean_dispatch"), "serves PyTorch's own code"),
    **dict.fromkeys(("handle_torch_function", "has_torch_function"), "belongs to torch.overrides"),
    **dict.fromkeys(("has_torch_function_unary", "has_torch_function_variadic"), "belongs to torch.overrides"),
    **dict.fromkeys(("BroadcastingList1", "BroadcastingList2", "BroadcastingList3"), "annotates TorchScript"),
    **dict.fromkeys(("Callable", "DType", "Optional", "TYPE_CHECKING", "Tensor"), "belongs to typing and torch"),
    **dict.fromkeys(("GRID_SAMPLE_INTERPOLATION_MODES", "GRID_SAMPLE_PADDING_MODES"), "numbers kernels' modes"),
    **dict.fromkeys(("reproducibility_notes", "sparse_support_notes", "tf32_notes"), "is text of docstrings"),
}


def names(module: ModuleType) -> set[str]:
    return {n for n in dir(module) if not n.startswith("_") and not inspect.ismodule(getattr(module, n))}


FORMS = sorted({*names(torch.nn.functional), "cdist", "logsumexp"} & set(functional.__all__) - {"conv_tbc"})
CLASSES = sorted(n for n in names(torch.nn) if inspect.isclass(getattr(torch.nn, n)))


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    """Returns name, kind and default of each parameter, from the docstring if there is no signature."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        line = re.match(r"\s*\w+\((.*?)(, \*, out=None)?\)( ->|\n\n)", function.__doc__, re.DOTALL)
        signature = inspect.signature(eval(f"(lambda {line[1]}: 0)"))
    return [(p.name, p.kind, p.default) for p in signature.parameters.values()]


def test_functional_has_every_name_of_torch():
    assert names(torch.nn.functional) - names(functional) == set(LEFT_OUT)


# FORMS leaves out conv_tbc, whose parameters PyTorch does not document.
@pytest.mark.parametrize("name", FORMS)
def test_functional_forms_have_the_parameters_of_torch(name):
    theirs = getattr(torch.nn.functional, name, None) or getattr(torch, name)
    expected = parameters(theirs)
    if [n for n, *_ in expected] == ["args", "kwargs"]:  # chooses between a form and the one with indices
        expected = parameters(getattr(torch.nn.functional, f"{name}_with_indices"))
    assert parameters(getattr(functional, name)) == expected


@pytest.mark.parametrize("name", CLASSES)
def test_classes_have_the_parameters_of_torch(name):
    for method in ("__init__", "forward"):
        ours, theirs = (getattr(getattr(package, name), method, None) for package in (nn, torch.nn))
        assert (ours is None) == (theirs is None)
        if theirs is not None:
            assert str(parameters(ours)) == str(parameters(theirs))
