"""Algorithms that `torch.compile` takes whole, as operators of the namespace ``scratchnet``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol, Self, TypeVar, get_args, get_type_hints

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from scratchnet.function.precision import outside_autocast
from scratchnet.function.recording import ORDINARY, plainly, transformed

__all__ = ["OPERATORS", "Opaque", "Numbers", "opaque"]

P = ParamSpec("P")
R = TypeVar("R")

LIBRARY = torch.library.Library("scratchnet", "FRAGMENT")
TYPES = {
    Tensor: "Tensor",
    Tensor | None: "Tensor?",
    Sequence[Tensor]: "Tensor[]",
    int: "SymInt",
    Sequence[int]: "SymInt[]",
    bool: "bool",
    float: "float",
}


class Numbers(Protocol):
    """An option that consists of integers, as which it stands in a graph."""

    def numbers(self) -> list[int]:
        """Returns the integers."""

    @classmethod
    def from_numbers(cls, numbers: Sequence[int]) -> Self:
        """Returns the option."""


@dataclass
class Opaque:
    """An algorithm and the operator that runs it in compiled graphs.

    Attributes:
        function: the algorithm.
        fake: a function of some of the arguments; returns empty tensors like the results.
        sized: the positions of those arguments.
        packed: the types of those parameters that are `Numbers`, by position.
        operator: the operator.
    """

    function: Callable[..., Any]
    fake: Callable[..., Any]
    sized: list[int]
    packed: dict[int, type[Numbers]]
    operator: Any = None

    def pack(self, arguments: Sequence[Any]) -> list[Any]:
        """Returns the arguments as the operator takes them."""
        return [x.numbers() if i in self.packed else x for i, x in enumerate(arguments)]

    def unpack(self, packed: Sequence[Any]) -> list[Any]:
        """Returns the arguments as the algorithm takes them."""
        return [self.packed[i].from_numbers(x) if i in self.packed else x for i, x in enumerate(packed)]

    def run(self, *packed: Any) -> Any:
        """Runs the algorithm as eagerly, where nothing records it, and returns results in the strides of the fake."""
        arguments = self.unpack(packed)
        tensors = [x for x in arguments if isinstance(x, Tensor)]
        with torch.no_grad():  # a compiled graph without gradients runs in the mode of its caller
            found = plainly(outside_autocast(self.function, tensors), tensors)(*arguments)
            return tree_map(_in_strides_of, self.shape(*packed), found)

    def shape(self, *packed: Any) -> Any:
        """Returns empty tensors like the results."""
        arguments = self.unpack(packed)
        return self.fake(*(arguments[i] for i in self.sized))


OPERATORS: list[Opaque] = []  # all of them; a test runs `torch.library.opcheck` on each


def opaque(fake: Callable[..., Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates an algorithm that is faster as it runs eagerly than compiled from its plain form.

    Under `torch.compile` a call becomes one node of the graph, whose kernel runs the algorithm; what is around it is
    compiled. Everywhere else, and in a compiled graph that exports, transforms or takes tensor subclasses, the
    function is called as it is, and the compiler sees its operations::

        @opaque(lambda x, y: x.new_empty(x.shape[0], y.shape[0]))
        @dispatch(tiled.distances)
        def distances(x: Tensor, y: Tensor) -> Tensor:
            return (x.unsqueeze(1) - y).square().sum(-1).sqrt()

    ``fake`` names those arguments that it needs, and returns empty tensors with shapes, dtypes and strides of the
    results, which depend on sizes and options alone (``len`` of a tensor would fix its size). The strides of the
    arguments are the compiler's choice, so a memory format is an option of its own. All arguments of the algorithm are
    given by position; their types are those of `TYPES` and `Numbers`. The operator has no derivative: autograd sees
    the `Function` that calls it.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        registered = _register(function, fake)
        operator, pack = registered.operator, registered.pack

        @functools.wraps(function)
        def choose(*args: P.args, **kwargs: P.kwargs) -> R:
            if torch.compiler.is_dynamo_compiling() and _compiles(args):
                return operator(*pack(args))
            return registered.function(*args, **kwargs)

        return choose

    return decorate


def _compiles(arguments: Sequence[Any]) -> bool:
    if torch.compiler.is_exporting() or transformed():
        return False
    return all([type(x) in ORDINARY for x in arguments if isinstance(x, Tensor)])


def _register(function: Callable[..., Any], fake: Callable[..., Any]) -> Opaque:
    """Defines the operator by the annotations of a function."""
    hints = get_type_hints(function)
    returned = hints.pop("return")
    parameters = list(inspect.signature(function).parameters)
    sized = [parameters.index(name) for name in inspect.signature(fake).parameters]
    packed = {i: hints[name] for i, name in enumerate(parameters) if hints[name] not in TYPES}
    declared = [f"{TYPES.get(hints[name], 'SymInt[]')} {name}" for name in parameters]
    results = TYPES[returned] if returned in TYPES else f"({', '.join(TYPES[t] for t in get_args(returned))})"
    name = function.__name__.strip("_")
    found = Opaque(function, fake, sized, packed)
    LIBRARY.define(
        f"{name}({', '.join(declared)}) -> {results}",
        tags=(torch.Tag.pt2_compliant_tag, torch.Tag.flexible_layout),
    )
    LIBRARY.impl(name, found.run, "CompositeExplicitAutograd")
    torch.library.register_fake(f"scratchnet::{name}", found.shape, lib=LIBRARY)
    found.operator = getattr(torch.ops.scratchnet, name).default
    OPERATORS.append(found)
    return found


def _in_strides_of(like: Tensor, result: Tensor) -> Tensor:
    return result if result.stride() == like.stride() else like.copy_(result)
