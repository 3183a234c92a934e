"""Every public function of ``torch.nn.functional`` has its twin here, but for those named below."""

from __future__ import annotations

import inspect

import torch.nn.functional

from scratchnet import functional

LEFT_OUT = {
    "scaled_grouped_mm": "PyTorch has no kernel for a CPU to hold it against",
    "assert_int_or_pair": "checks arguments for PyTorch's own code",
    "boolean_dispatch": "makes the TorchScript form of PyTorch's own functions",
    "handle_torch_function": "belongs to torch.overrides",
    "has_torch_function": "belongs to torch.overrides",
    "has_torch_function_unary": "belongs to torch.overrides",
    "has_torch_function_variadic": "belongs to torch.overrides",
}


def test_every_function_of_torch_nn_functional_is_here():
    theirs = {
        name
        for name in dir(torch.nn.functional)
        if not name.startswith("_") and inspect.isroutine(getattr(torch.nn.functional, name))
    }
    assert theirs - set(functional.__all__) == set(LEFT_OUT)
    assert theirs - set(dir(functional)) == set(LEFT_OUT)
