"""Functional forms call `__torch_function__` for subclasses, modes and fx proxies, as torch's do."""

from __future__ import annotations

import inspect
import warnings

import pytest
import torch
from torch import Tensor, fx
from torch.overrides import TorchFunctionMode

from reference.catalog import RECORDS, Make
from scratchnet import functional

# scaled_mm does not, as PyTorch's does not; the op that it calls does, with integers for enumerations.
FORMS = [r for name, r in RECORDS.items() if name in functional.__all__ and name != "scaled_mm"]
every_form = pytest.mark.parametrize("record", FORMS, ids=lambda record: record.name)


class NameTensor(Tensor):
    """A tensor whose `__torch_function__` returns the function's name instead of calling it."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            return function.__name__


class RecordingMode(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.calls.append(function)
        return function(*args, **(kwargs or {}))


def first_sample(record):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return next(iter(record.samples(Make(torch.float64))))


@every_form
def test_tensor_subclasses_override_functional_forms(record):
    form = getattr(functional, record.name)
    sample = first_sample(record)
    names = list(inspect.signature(form).parameters)
    for i, x in enumerate(sample.inputs):
        if isinstance(x, Tensor):
            mixed = [*sample.inputs[:i], x.as_subclass(NameTensor), *sample.inputs[i + 1 :]]
            assert form(*mixed, **sample.options) == record.name
            assert form(**dict(zip(names, mixed, strict=False)), **sample.options) == record.name


@every_form
def test_modes_and_fx_see_one_call(record):
    form = getattr(functional, record.name)
    sample = first_sample(record)
    with torch.no_grad(), RecordingMode() as mode, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        form(*sample.inputs, **sample.options)
    assert mode.calls == [form]
    graph = fx.Graph()
    tracer = fx.proxy.GraphAppendingTracer(graph)
    proxies = [fx.Proxy(graph.placeholder("x"), tracer) if isinstance(x, Tensor) else x for x in sample.inputs]
    assert form(*proxies).node.target is form


def test_compiled_code_keeps_the_subclass():
    class Kind(Tensor):
        pass

    weight = torch.randn(4, 3).as_subclass(Kind)
    compiled = torch.compile(functional.linear, backend="eager", fullgraph=True)
    assert type(compiled(torch.randn(2, 3), weight)) is Kind
