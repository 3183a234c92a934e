"""Calls a function or a module under comparison without leaving a trace."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._library.custom_ops import CustomOpDef
from torch._ops import OpOverload, OpOverloadPacket

__all__ = [
    "Call",
    "Subject",
    "SubjectOfTwo",
    "as_real",
    "continuous",
    "differentiable",
    "mapped",
    "parts_of",
    "widest",
]


def differentiable(tensor: Any) -> bool:
    """Whether a gradient can flow into an argument, and is asked for."""
    return continuous(tensor) and tensor.requires_grad


def continuous(tensor: Any) -> bool:
    """Whether an argument is a tensor of real or complex numbers."""
    return isinstance(tensor, Tensor) and (tensor.is_floating_point() or tensor.is_complex())


def widest(x: Tensor) -> torch.dtype:
    """The dtype in which the truth is computed: float64, or complex128 for complex tensors."""
    return torch.complex128 if x.is_complex() else torch.float64


def as_real(x: Tensor) -> Tensor:
    """Real and imaginary parts of a complex tensor along a last dimension; any other tensor as it is."""
    return torch.view_as_real(x.resolve_conj()) if x.is_complex() else x


def mapped(function: Callable[[Any], Any], argument: Any) -> Any:
    """Applies a function to an argument, or, in order, to all that a tuple, list, dict or dataclass holds."""
    parts = parts_of(argument)
    if parts is None:
        return function(argument)
    new = {key: mapped(function, part) for key, part in parts.items()}
    if is_dataclass(argument) and not isinstance(argument, type):
        return replace(argument, **new)
    if isinstance(argument, dict):
        return type(argument)(new) if type(argument) in (dict, OrderedDict) else new
    return type(argument)(*new.values()) if hasattr(argument, "_fields") else type(argument)(new.values())


def parts_of(argument: Any) -> dict[Any, Any] | None:
    """Returns the parts of a container by place, key or field; None for anything else."""
    if isinstance(argument, dict):
        return argument
    if isinstance(argument, tuple | list):
        return dict(zip(getattr(argument, "_fields", range(len(argument))), argument, strict=True))
    if is_dataclass(argument) and not isinstance(argument, type):
        return {f.name: getattr(argument, f.name) for f in fields(argument) if f.init}
    return None


def _named(name: str, argument: Any) -> Iterator[tuple[str, Any]]:
    """An argument by its name, or each part of a container by its place in it."""
    parts = parts_of(argument)
    if parts is None:
        yield name, argument
        return
    for key, part in parts.items():
        yield from _named(f"{name}.{key}", part)


@dataclass(frozen=True)
class Call:
    """One call's arguments: tensors by name (inputs, then parameters), and everything else in its place.

    Attributes:
        inputs: the positional arguments: tensors, tuples of tensors, and others.
        options: the keyword arguments.
        parameters: a module's parameters by name.
        buffers: a module's buffers by name.
        seed: set before each call, so that both sides draw the same random numbers.
    """

    inputs: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Tensor] = field(default_factory=dict)
    buffers: dict[str, Tensor] = field(default_factory=dict)
    seed: int = 0

    def names(self) -> list[str]:
        """The names of the differentiable tensors, in the order of `leaves`."""
        several = sum(isinstance(x, Tensor) for _, x in _named("", self.inputs)) > 1
        inputs = [(f"input {i}" if several else "input", x) for i, x in enumerate(self.inputs)]
        arguments = [*inputs, *self.options.items(), *self.parameters.items()]
        return [name for top, argument in arguments for name, x in _named(top, argument) if differentiable(x)]

    def leaves(self) -> list[Tensor]:
        """The differentiable tensors: inputs, options, parameters."""
        return [x for x in self.tensors() if differentiable(x)]

    def tensors(self, parameters: bool = True) -> list[Tensor]:
        """All tensors but the buffers: inputs, options and, unless told otherwise, parameters."""
        everything = (*self.inputs, *self.options.values(), *(self.parameters.values() if parameters else ()))
        return [x for _, x in _named("", everything) if isinstance(x, Tensor)]

    def with_leaves(self, leaves: Sequence[Tensor]) -> Call:
        """The same call with other tensors in place of the differentiable ones."""
        rest = iter(leaves)

        def swap(x: Any) -> Any:
            return next(rest) if differentiable(x) else x

        inputs = mapped(swap, self.inputs)
        options = {name: mapped(swap, x) for name, x in self.options.items()}
        parameters = {name: swap(x) for name, x in self.parameters.items()}
        return Call(inputs, options, parameters, self.buffers, self.seed)

    def to(self, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Call:
        """The same call in another floating-point dtype, complex tensors in its complex one; or on another device."""

        def convert(x: Any) -> Any:
            if not isinstance(x, Tensor) or not (continuous(x) or device):
                return x
            own = (
                x.dtype if dtype is None or not continuous(x) else dtype.to_complex() if x.is_complex() else dtype
            )
            return x.detach().to(device, own).requires_grad_(x.requires_grad)

        return Call(
            mapped(convert, self.inputs),
            {name: mapped(convert, x) for name, x in self.options.items()},
            {name: convert(x) for name, x in self.parameters.items()},
            {name: convert(x) for name, x in self.buffers.items()},
            self.seed,
        )


class Subject:
    """A function or module under comparison; `run` gives its outputs as a tuple.

    Args:
        function: the function or module.
        names: the names of a module's parameters by those of the call, where they differ.
    """

    def __init__(self, function: Callable[..., Any], names: Mapping[str, str] | None = None) -> None:
        self.function, self.names = function, names or {}

    @property
    def exact(self) -> bool:
        """Whether its gradients are good to the last digits, and not to those that finite differences leave."""
        return True

    @property
    def is_operator(self) -> bool:
        """Whether it is a custom operator, as `torch.library.custom_op` makes them."""
        return isinstance(self.function, CustomOpDef | OpOverload | OpOverloadPacket)

    def run(self, call: Call) -> tuple[Tensor, ...]:
        """Calls it with the call's seed, parameters and buffers; a module's own state stays as it is."""
        return self.watched_run(call)[0]

    def watched_run(self, call: Call) -> tuple[tuple[Tensor, ...], bool]:
        """Like `run`, and whether the call consumed random numbers."""
        devices = sorted({x.device.index for x in call.leaves() if x.device.type == "cuda"})
        outside = _random_states(devices)
        _seed(call.seed, devices)
        before = _random_states(devices)
        try:
            output = self._call(call)
            drew = any(not torch.equal(a, b) for a, b in zip(before, _random_states(devices), strict=True))
        finally:
            torch.random.default_generator.set_state(outside[0])
            for device, state in zip(devices, outside[1:], strict=True):
                torch.cuda.set_rng_state(state, device)
        return _tensors(output), drew

    def _call(self, call: Call) -> Any:
        if isinstance(self.function, nn.Module):
            state = {self.names.get(name, name): x for name, x in (call.parameters | call.buffers).items()}
            return torch.func.functional_call(self.function, state, call.inputs, call.options)
        return self.function(*call.inputs, **call.options)


class SubjectOfTwo(Subject):
    """The values of one function with the derivatives of another, of the same inputs and as many outputs."""

    def __init__(self, function: Callable[..., Any], surrogate: Callable[..., Any]) -> None:
        super().__init__(function)
        self.surrogate = Subject(surrogate)

    def _call(self, call: Call) -> Any:
        values = _tensors(super()._call(call))
        return tuple(_ValuesOf.apply(y.detach(), s) for y, s in zip(values, self.surrogate.run(call), strict=True))


class _ValuesOf(torch.autograd.Function):
    """The first tensor, with the derivatives of the second."""

    generate_vmap_rule = True

    @staticmethod
    def forward(y: Tensor, s: Tensor) -> Tensor:
        return y.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        return None, grad

    @staticmethod
    def jvp(ctx: Any, _: Tensor | None, tangent: Tensor) -> Tensor:
        return tangent.clone()


def _seed(seed: int, devices: Sequence[int]) -> None:
    """Like `torch.manual_seed`, which formats a stack trace for every device that is not there: a millisecond."""
    torch.random.default_generator.manual_seed(seed)
    for device in devices:
        torch.cuda.default_generators[device].manual_seed(seed)


def _random_states(devices: Sequence[int]) -> list[Tensor]:
    return [torch.random.default_generator.get_state(), *map(torch.cuda.get_rng_state, devices)]


def _tensors(output: Any) -> tuple[Tensor, ...]:
    """All tensors of an output, in order; numbers as tensors."""
    if isinstance(output, Tensor):
        return (output,)
    if output is None:
        return ()
    if isinstance(output, bool | int | float | complex):
        return (torch.tensor(output, dtype=torch.float64 if isinstance(output, float) else None),)
    parts = parts_of(output)
    if parts is None:
        raise TypeError(
            f"compare: expected tensors, or a container of tensors, as output, got {type(output).__name__}"
        )
    return tuple(tensor for part in parts.values() for tensor in _tensors(part))
