"""What ops expect of their arguments, and how their error messages name what came."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

__all__ = ["autocasts", "describe", "floating", "number", "overridable", "per_channel", "promoted", "tensor"]

P = ParamSpec("P")
R = TypeVar("R")


def overridable(form: Callable[P, R]) -> Callable[P, R]:
    """Lets ``__torch_function__`` of the arguments and of modes override a functional form, as torch's do."""

    @wraps(form)
    def overridden(*args: P.args, **kwargs: P.kwargs) -> R:
        relevant = (*args, *kwargs.values()) if kwargs else args
        # The compiler alone says yes where subclasses are disabled.
        if has_torch_function(relevant) and (
            not torch.compiler.is_compiling() or torch._C._is_torch_function_enabled()
        ):
            return handle_torch_function(overridden, relevant, *args, **kwargs)
        return form(*args, **kwargs)

    return overridden


def describe(value: Any) -> str:
    """A short account of an argument, for the "got …" half of an error message.

    >>> describe(torch.zeros(2, 3))
    'a float32 tensor of shape (2, 3)'
    >>> describe("3")
    "str '3'"
    """
    if isinstance(value, Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        return f"a {dtype} tensor of shape {tuple(value.shape)}"
    return "None" if value is None else f"{type(value).__name__} {value!r}"


def tensor(op: str, value: Any, name: str = "input") -> Tensor:
    """The argument, known to be a tensor; otherwise TypeError."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{op}: expected {name} to be a tensor, got {describe(value)}; wrap it in torch.as_tensor(...)"
        )
    return value


def floating(op: str, value: Any, name: str = "input", error: type[Exception] = NotImplementedError) -> Tensor:
    """The argument, known to be a floating-point tensor; otherwise TypeError, or the error of the other kind."""
    if not tensor(op, value, name).is_floating_point():
        raise error(f"{op}: expected {name} to be floating point, got {describe(value)}; convert it with .float()")
    return value


def promoted(op: str, value: Any, name: str = "input") -> Tensor:
    """The argument as a floating-point tensor: integers become the default dtype; otherwise TypeError."""
    checked = tensor(op, value, name)
    return checked if checked.is_floating_point() else checked.to(torch.get_default_dtype())


def number(op: str, value: Any, name: str) -> float:
    """The option, known to be a number; otherwise TypeError."""
    if not isinstance(value, int | float):
        raise TypeError(f"{op}: expected {name} to be a number, got {describe(value)}")
    return value


def autocasts(x: Tensor) -> bool:
    """Whether `torch.autocast` has a say in a call on the tensor: never where there is no data."""
    return x.device.type != "meta" and torch.is_autocast_enabled(x.device.type)


def per_channel(op: str, input: Tensor, parameter: Tensor, name: str = "weight") -> tuple[Tensor, Tensor]:
    """The input, and the parameter shaped to broadcast along the channels, dimension 1.

    Raises:
        TypeError: if one of them is no tensor.
        RuntimeError: if the parameter has neither one element nor one for each channel, or another dtype.
    """
    x, parameter = tensor(op, input), tensor(op, parameter, name)
    if x.dtype is not parameter.dtype and not autocasts(x):
        raise RuntimeError(
            f"{op}: expected input and {name} of one dtype, got {describe(x)} and {describe(parameter)}"
        )
    if parameter.dim() > 1:
        raise RuntimeError(f"{op}: expected {name} to be of shape () or (C,), got {describe(parameter)}")
    if parameter.numel() == 1:
        return x, parameter.reshape(())
    channels = x.shape[1] if x.dim() > 1 else 1
    if x.dim() == 0 or parameter.numel() != channels:
        raise RuntimeError(
            f"{op}: expected {name} with 1 element or one for each of the input's {channels} channel(s) "
            f"(dimension 1), got {describe(parameter)} for {describe(x)}"
        )
    return x, parameter.view(-1, *(1,) * (x.dim() - 2)) if x.dim() > 1 else parameter
