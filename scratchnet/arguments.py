"""What ops expect of their arguments, and how their error messages name what came."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from scratchnet.nested import is_jagged, on_values

__all__ = [
    "autocasts",
    "describe",
    "floating",
    "is_integer",
    "number",
    "overridable",
    "per_channel",
    "promoted",
    "tensor",
]

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
            if any(map(is_jagged, relevant)) and not torch.compiler.is_compiling():
                return on_values(overridden, args, kwargs)
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


def floating(
    op: str,
    value: Any,
    name: str = "input",
    error: type[Exception] = NotImplementedError,
    complex: bool = False,
    integer: bool = False,
    boolean: bool = False,
) -> Tensor:
    """Returns a floating-point tensor, or a complex, integer or boolean one where the op takes these.

    Raises:
        TypeError: if the argument is no tensor.
        Exception: the given error, if its dtype is another one.
    """
    x = tensor(op, value, name)
    if (
        x.is_floating_point()
        or x.is_complex()
        and complex
        or integer
        and is_integer(x)
        or boolean
        and x.dtype is torch.bool
    ):
        return x
    kinds = ["floating point"] + ["complex"] * complex + ["integer"] * integer + ["boolean"] * boolean
    mend = "choose .real or .abs()" if x.is_complex() else "convert it with .float()"
    raise error(f"{op}: expected {name} to be {' or '.join(kinds)}, got {describe(x)}; {mend}")


def is_integer(x: Tensor) -> bool:
    """Whether the tensor holds integers; bool is no number."""
    return not (x.is_floating_point() or x.is_complex() or x.dtype is torch.bool)


def promoted(op: str, value: Any, name: str = "input", complex: bool = False) -> Tensor:
    """Returns a floating-point tensor, or a complex one where the op takes it; integers become the default dtype."""
    x = tensor(op, value, name)
    if x.is_floating_point() or x.is_complex():
        return floating(op, x, name, complex=complex)
    return x.to(torch.get_default_dtype())


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
