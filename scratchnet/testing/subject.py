"""What is compared: a function or a module, called without leaving a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Call", "Subject", "differentiable", "mapped"]


def differentiable(tensor: Any) -> bool:
    """Whether a gradient can flow into an argument, and is asked for."""
    return isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.requires_grad


def mapped(function: Callable[[Any], Any], argument: Any) -> Any:
    """An argument with a function applied to it, or to each element, in order, where it is a tuple or list."""
    if not isinstance(argument, tuple | list):
        return function(argument)
    parts = [mapped(function, part) for part in argument]
    return type(argument)(*parts) if hasattr(argument, "_fields") else type(argument)(parts)


def _named(name: str, argument: Any) -> Iterator[tuple[str, Any]]:
    """An argument by its name, or each element by its place in the tuple or list."""
    if isinstance(argument, tuple | list):
        for i, part in enumerate(argument):
            yield from _named(f"{name}.{i}", part)
    else:
        yield name, argument


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

    def to(self, dtype: torch.dtype) -> Call:
        """The same call in another floating-point dtype."""

        def convert(x: Any) -> Any:
            if not isinstance(x, Tensor) or not x.is_floating_point():
                return x
            return x.detach().to(dtype).requires_grad_(x.requires_grad)

        return Call(
            mapped(convert, self.inputs),
            {name: mapped(convert, x) for name, x in self.options.items()},
            {name: convert(x) for name, x in self.parameters.items()},
            {name: convert(x) for name, x in self.buffers.items()},
            self.seed,
        )


class Subject:
    """A function or module under comparison; `run` gives its outputs as a tuple."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    @property
    def exact(self) -> bool:
        """Whether its gradients are good to the last digits, and not to those that finite differences leave."""
        return True

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
            state = {**call.parameters, **call.buffers}
            return torch.func.functional_call(self.function, state, call.inputs, call.options)
        return self.function(*call.inputs, **call.options)


def _seed(seed: int, devices: Sequence[int]) -> None:
    """Like `torch.manual_seed`, which formats a stack trace for every device that is not there: a millisecond."""
    torch.random.default_generator.manual_seed(seed)
    for device in devices:
        torch.cuda.default_generators[device].manual_seed(seed)


def _random_states(devices: Sequence[int]) -> list[Tensor]:
    return [torch.random.default_generator.get_state(), *map(torch.cuda.get_rng_state, devices)]


def _tensors(output: Any) -> tuple[Tensor, ...]:
    if isinstance(output, Tensor):
        return (output,)
    if output is None:
        return ()
    if isinstance(output, tuple | list):
        return tuple(tensor for part in output for tensor in _tensors(part))
    raise TypeError(f"compare: expected a tensor or a tuple of tensors as output, got {type(output).__name__}")
