"""What ``torch.nn.functional`` and ``torch.nn`` have is here, with the same parameters, but for what is named below."""

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
    """Name, kind and default of each parameter, which a docstring's first line holds where there is no signature."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        line = re.match(r"\s*\w+\((.*?)(, \*, out=None)?\)( ->|\n\n)", function.__doc__, re.DOTALL)
        signature = inspect.signature(eval(f"(lambda {line[1]}: 0)"))
    return [(p.name, p.kind, p.default) for p in signature.parameters.values()]


def test_every_name_of_torch_nn_functional_is_here():
    assert names(torch.nn.functional) - names(functional) == set(LEFT_OUT)


# PyTorch says nothing of the parameters of conv_tbc.
@pytest.mark.parametrize("name", FORMS)
def test_a_form_has_the_parameters_of_torchs(name):
    theirs = getattr(torch.nn.functional, name, None) or getattr(torch, name)
    expected = parameters(theirs)
    if [n for n, *_ in expected] == ["args", "kwargs"]:  # chooses between a form and the one with indices
        expected = parameters(getattr(torch.nn.functional, f"{name}_with_indices"))
    assert parameters(getattr(functional, name)) == expected


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_has_the_parameters_of_torchs(name):
    for method in ("__init__", "forward"):
        ours, theirs = (getattr(getattr(package, name), method, None) for package in (nn, torch.nn))
        assert (ours is None) == (theirs is None)
        if theirs is not None:
            assert str(parameters(ours)) == str(parameters(theirs))
