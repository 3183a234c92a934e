"""Options of other number types: an object with ``__index__`` is an integer, one with ``__float__`` a number."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.export import Dim, export
from torch.testing._internal.common_modules import module_db
from torch.utils._pytree import tree_leaves, tree_map_only

from reference.catalog import RECORDS, Make
from reference.tracers import Called
from scratchnet import functional, nn
from scratchnet.arguments import describe

pytestmark = pytest.mark.filterwarnings("ignore")


class Index:
    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


class Number:
    def __init__(self, value):
        self.value = value

    def __float__(self):
        return float(self.value)


# Other types of number for each type of option.
INTEGERS = [np.int64, torch.tensor, Index]
NUMBERS = [np.float32, np.float64, torch.tensor, Number]
OTHER_TYPES: dict[type, list[Callable[[Any], Any]]] = {int: INTEGERS, float: NUMBERS, bool: [np.bool_]}
HUGE = 10**400
WRONG: dict[type, list[Any]] = {
    int: ["a", None, [], 1 + 2j, float("nan"), HUGE, 2**70, -7, True],
    float: ["a", None, [1.0], 1 + 2j, HUGE, np.zeros((2, 2))],
    bool: ["a", None, -1, HUGE, torch.zeros(2)],
    str: [None, [], 1 + 2j, HUGE],
}
REFUSALS = (TypeError, ValueError, RuntimeError, NotImplementedError, IndexError)


# The record of ctc_loss wraps the functional form, so it has a call of its own.
CTC = {
    "log_probs": torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(0)).log_softmax(-1),
    "targets": torch.tensor([[1, 2], [3, 1]]),
    "input_lengths": (5, 4),
    "target_lengths": (2, 1),
}


def each(change, value):
    return type(value)([change(v) for v in value]) if type(value) in (list, tuple) else change(value)


def plain(value):
    return value.value if isinstance(value, Index | Number) else value.item()


def calls(record) -> Iterator[dict[str, Any]]:
    """Yields the arguments of each sample by name."""
    if record.name == "ctc_loss":
        yield CTC
        return
    names = inspect.signature(getattr(functional, record.name)).parameters
    for sample in record.samples(Make(torch.float64)):
        yield {**dict(zip(names, sample.inputs, strict=False)), **sample.options}


def options_of(record) -> Iterator[tuple[str, Any, type, dict[str, Any]]]:
    """Yields each option once for each type of value: name, value, type, and the arguments of a call."""
    seen = set()
    for arguments in calls(record):
        for name, parameter in inspect.signature(getattr(functional, record.name)).parameters.items():
            value = arguments.get(name, parameter.default)
            first = value[0] if isinstance(value, list | tuple) and value else value
            kind = float if "float" in parameter.annotation and type(first) is int else type(first)
            if (name, type(value), kind) not in seen and not name.startswith("_"):
                seen.add((name, type(value), kind))
                yield name, value, kind, arguments


def outcome(function, arguments) -> tuple[list[Any] | None, Exception | None]:
    torch.manual_seed(0)
    copies = {name: x.detach().clone() if isinstance(x, Tensor) else x for name, x in arguments.items()}
    try:
        with torch.no_grad():
            return tree_leaves(function(**copies)), None
    except Exception as error:
        return None, error


def same(found, expected):
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=0, equal_nan=True)


FORMS = [pytest.param(RECORDS[name], id=name) for name in functional.__all__]


@pytest.mark.parametrize("record", FORMS)
def test_other_number_types_equal_plain_numbers(record):
    form, theirs = (getattr(m, record.name, None) for m in (functional, torch.nn.functional))
    for name, value, kind, arguments in options_of(record):
        for change in OTHER_TYPES.get(kind, ()):
            changed = each(change, value)
            found, error = outcome(form, {**arguments, name: changed})
            if theirs and outcome(theirs, {**arguments, name: changed})[1] is None:
                assert error is None, f"{name}={changed!r}: {error!r}"
            if error is None:
                expected, error = outcome(form, {**arguments, name: each(plain, changed)})
                assert error is None, f"{name}={changed!r}: {error!r}"
                same(found, expected)


# Functions whose errors may begin with the name of a function that they call.
CALLED_FUNCTIONS = {name: "interpolate" for name in ("upsample", "upsample_bilinear", "upsample_nearest")}
CALLED_FUNCTIONS["multi_head_attention_forward"] = "dropout"


@pytest.mark.parametrize("record", FORMS)
def test_invalid_options_raise_short_errors(record):
    form, theirs = (getattr(m, record.name, None) for m in (functional, torch.nn.functional))
    other_name = CALLED_FUNCTIONS.get(record.name, re.sub("^native_|_with_indices$|_$", "", record.name))
    for name, value, kind, arguments in options_of(record):
        for wrong in WRONG.get(kind, ()):
            for other in (wrong, (wrong, wrong)) if isinstance(value, tuple) else (wrong,):
                call = {**arguments, name: other}
                error = outcome(form, call)[1]
                refused = outcome(theirs, call)[1] if theirs else None
                shown = f"{name}={describe(other)}: {error!r}, built-in: {refused!r}"
                if error is None:
                    assert refused is None, shown
                    continue
                assert isinstance(error, (*REFUSALS, type(refused))), shown
                assert re.match(rf"({record.name}|{other_name}): expected ", str(error)), shown
                assert len(str(error)) < 400, shown


MODULES = [
    pytest.param(info, id=info.module_cls.__name__) for info in module_db if hasattr(nn, info.module_cls.__name__)
]


def run(module_class, options, call):
    torch.manual_seed(0)
    module = module_class(**options)
    copies = tree_map_only(Tensor, lambda x: x.detach().clone(), (call.args, call.kwargs))
    torch.manual_seed(0)
    with torch.no_grad():
        return tree_leaves(module(*copies[0], **copies[1]))


@pytest.mark.parametrize("info", MODULES)
def test_modules_take_other_number_types(info):
    theirs, ours = info.module_cls, getattr(nn, info.module_cls.__name__)
    parameters, seen = list(inspect.signature(theirs.__init__).parameters)[1:], set()
    for sample in info.module_inputs_func(
        info, device="cpu", dtype=torch.float32, requires_grad=False, training=True
    ):
        made = sample.constructor_input
        options = {**dict(zip(parameters, made.args, strict=False)), **made.kwargs}
        for name, value in options.items():
            first = value[0] if isinstance(value, list | tuple) and value else value
            kind = type(value), type(first)
            if (name, kind) in seen:
                continue
            seen.add((name, kind))
            for change in OTHER_TYPES.get(type(first), ()):
                changed = each(change, value)
                try:
                    run(theirs, {**options, name: changed}, sample.forward_input)
                except Exception:
                    continue
                found = run(ours, {**options, name: changed}, sample.forward_input)
                same(found, run(ours, {**options, name: each(plain, changed)}, sample.forward_input))


SIZES_AS_OPTIONS = {
    "adaptive_avg_pool2d": lambda x: functional.adaptive_avg_pool2d(x, (x.shape[2] // 2, 1)),
    "interpolate": lambda x: functional.interpolate(x, size=(2 * x.shape[2], x.shape[3]), mode="bilinear"),
    "layer_norm": lambda x: functional.layer_norm(x, x.shape[-1:]),
    "leaky_relu": lambda x: functional.leaky_relu(x, x.shape[0] / 100),
    "pad": lambda x: functional.pad(x, (0, x.shape[-1] % 2 + 2)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES_AS_OPTIONS)
def test_traced_sizes_stay_symbolic(name):
    function = SIZES_AS_OPTIONS[name]
    x, other = torch.randn(4, 2, 8, 6), torch.randn(5, 2, 10, 7)
    call = Called(function, (x,), {})
    traces = (
        export(call, (x,), dynamic_shapes={"tensors": ({0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO},)}).module(),
        torch.compile(function, backend="eager", fullgraph=True, dynamic=True),
        torch.jit.trace(function, (x,), check_trace=False),
    )
    for trace in traces:
        trace(x)
        torch.testing.assert_close(trace(other), function(other))


@pytest.mark.slow
def test_compiled_code_takes_numpy_numbers():
    def function(x):
        y = functional.pad(x, (np.int64(1), 1))
        return functional.leaky_relu(functional.max_pool2d(y, np.int64(2)), np.float64(0.1))

    x = torch.randn(2, 3, 4, 6)
    torch.testing.assert_close(torch.compile(function, backend="eager", fullgraph=True)(x), function(x))
    layers = nn.Sequential(nn.Conv2d(3, 4, np.int64(3)), nn.MaxPool2d(np.int64(2)), nn.Softmax(np.int64(1)))
    torch.testing.assert_close(torch.compile(layers, backend="eager", fullgraph=True)(x), layers(x))
