"""Checks the arguments of ops; the error messages say what was expected and what came."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from functools import wraps
from numbers import Complex, Real
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from scratchnet.nested import is_jagged, on_values

__all__ = [
    "autocasts",
    "describe",
    "floating",
    "integer",
    "integers",
    "is_integer",
    "number",
    "overridable",
    "per_channel",
    "promoted",
    "tensor",
    "truth",
]

P = ParamSpec("P")
R = TypeVar("R")
Check = Callable[[str, Any, str], Any]
Expected = tuple[frozenset[type], Check]


# Options whose mere truth PyTorch asks, whatever their type; of the others it takes True and False alone.
TRUTHY = {
    *("add_zero_attn", "antialias", "average_attn_weights", "hard", "include_last_offset", "inplace"),
    *("need_weights", "recompute_scale_factor", "reduce", "return_indices", "size_average"),
    *("gaussian_nll_loss.full", "triplet_margin_with_distance_loss.swap"),
    *("multi_head_attention_forward.training", "multi_head_attention_forward.is_causal"),
    *("multi_head_attention_forward.use_separate_proj_weight",),
}


def overridable(form: Callable[P, R]) -> Callable[P, R]:
    """Makes a functional form check its arguments by their annotations, and lets ``__torch_function__`` override it."""
    op = form.__name__.lstrip("_")
    expected = {name: _expected(f"{op}.{name}", p) for name, p in inspect.signature(form).parameters.items()}
    ordered, usual = tuple(expected.items()), tuple(types for types, _ in expected.values())

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
        given: Any = args
        for value, types in zip(args, usual, strict=False):
            if type(value) not in types:
                given = [
                    value if type(value) in types else check(op, value, name)
                    for value, (name, (types, check)) in zip(args, ordered, strict=False)
                ] + list(args[len(ordered) :])
                break
        named: Any = kwargs
        for name, value in kwargs.items():
            types, check = expected.get(name, ANYTHING)
            if type(value) not in types:
                named = {**named, name: check(op, value, name)}
        return form(*given, **named)

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
    if value is None:
        return "None"
    try:
        words = " ".join(repr(value).split())  # those of an array fill lines
    except ValueError:  # Python writes no number of thousands of digits
        words = "of too many digits"
    return f"{type(value).__name__} {words if len(words) <= 100 else words[:97] + '...'}"


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


def promoted(op: str, value: Any, name: str = "input", complex: bool = False, boolean: bool = True) -> Tensor:
    """Returns a floating-point tensor, or a complex one where the op takes it; integers become the default dtype."""
    x = floating(op, value, name, complex=complex, integer=True, boolean=boolean)
    return x if x.is_floating_point() or x.is_complex() else x.to(torch.get_default_dtype())


def number(op: str, value: Any, name: str) -> float:
    """Returns the option as a number: whatever `float` takes, such as a NumPy scalar or a tensor of one element.

    Sizes of traces stay symbolic.

    Raises:
        TypeError: if it is none, or a tensor that requires grad, whose gradient would be lost.
    """
    if isinstance(value, Tensor):
        if value.numel() == 1 and not value.requires_grad and not value.is_complex():
            if torch.jit.is_tracing():
                return value  # type: ignore[return-value]  # stands for its number in the trace
            return number(op, value.item(), name)
    elif (
        type(value) is int
        and -(2**63) <= value < 2**63
        or isinstance(value, float | torch.SymInt | torch.SymFloat)
    ):
        return value  # type: ignore[return-value]  # symbolic sizes stand for numbers
    elif not isinstance(value, str | bytes | bytearray) and (
        isinstance(value, Real) or not isinstance(value, Complex)
    ):
        try:
            return float(value)
        except (OverflowError, TypeError, ValueError):
            pass
    raise TypeError(f"{op}: expected {name} to be a number, got {describe(value)}; convert it with float(...)")


def integer(op: str, value: Any, name: str) -> int:
    """Returns the option as an integer: whatever has ``__index__``; sizes of traces stay symbolic.

    Raises:
        TypeError: if it is none, or a bool.
        ValueError: if it takes more than 64 bits.
    """
    if type(value) is int:
        if -(2**63) <= value < 2**63:
            return value
        raise ValueError(
            f"{op}: expected {name} to be an integer of 64 bits, got {describe(value)}; choose a smaller one"
        )
    if isinstance(value, torch.SymInt) or isinstance(value, Tensor) and torch.jit.is_tracing():
        return value  # type: ignore[return-value]  # stands for its integer in the trace
    # The compiler sees a tensor in a NumPy scalar, and none of its methods.
    if torch.compiler.is_compiling() and hasattr(value, "dtype") and not isinstance(value, Tensor):
        value = torch.as_tensor(value)
    if isinstance(value, Tensor) and is_integer(value) and value.numel() == 1:
        return integer(op, value.item(), name)
    try:
        if isinstance(value, bool | Tensor):
            raise TypeError
        n = int(operator.index(value))
    except TypeError:
        raise TypeError(
            f"{op}: expected {name} to be an integer, got {describe(value)}; convert it with int(...)"
        ) from None
    return integer(op, n, name)


def truth(op: str, value: Any, name: str) -> bool:
    """Returns the option, known to be True or False; otherwise TypeError."""
    if not isinstance(value, bool | torch.SymBool):
        raise TypeError(
            f"{op}: expected {name} to be True or False, got {describe(value)}; convert it with bool(...)"
        )
    return value  # type: ignore[return-value]  # a symbolic truth value stands for one


def _several(
    check: Check, expected: str, mend: str = "", *, single: bool = False, optional: bool = False
) -> Check:
    """Returns a check of a list or tuple of such values, which it makes a tuple, or, if ``single``, of one value."""

    def checked(op: str, value: Any, name: str) -> Any:
        try:
            if isinstance(value, list | tuple):
                return tuple([n if n is None and optional else check(op, n, name) for n in value])
            return check(op, value if single else None, name)
        except TypeError:
            raise TypeError(f"{op}: expected {name} to be {expected}, got {describe(value)}{mend}") from None

    return checked


def _either(kind: type, check: Check) -> Check:
    """Returns a check that leaves values of the kind as they are."""

    def checked(op: str, value: Any, name: str) -> Any:
        return value if isinstance(value, kind) else check(op, value, name)

    return checked


def _instance(kind: type, noun: str, mend: str) -> Check:
    """Returns a check of values that are of the kind already."""

    def checked(op: str, value: Any, name: str) -> Any:
        if not isinstance(value, kind):
            raise TypeError(f"{op}: expected {name} to be {noun}, got {describe(value)}; {mend}")
        return value

    return checked


def _truthiness(op: str, value: Any, name: str) -> bool:
    try:
        return bool(value)
    except (RuntimeError, ValueError):
        raise RuntimeError(f"{op}: expected {name} to be True or False, got {describe(value)}") from None


def _word(op: str, value: Any, name: str) -> str:
    if not isinstance(value, str):
        error = ValueError if name == "reduction" else TypeError
        raise error(f"{op}: expected {name} to be a word, got {describe(value)}")
    return value


def _anything(op: str, value: Any, name: str) -> Any:
    return value


ANYTHING: Expected = (frozenset(), _anything)
WRITTEN = "; one dimension is written (n,)"
integers = _several(integer, "an integer or a tuple of integers", single=True)
several_integers = _several(integer, "a tuple of integers", WRITTEN)
CHECKS: dict[str, Check] = {
    **dict.fromkeys(("Tensor", "Maybe"), tensor),
    **dict.fromkeys(("float", "int | float"), number),
    **dict.fromkeys(("Size", "Pair", "int | Sequence[int]"), integers),
    "int": integer,
    "bool": truth,
    "str": _word,
    "str | Size": _either(str, integers),
    "Outputs": _several(integer, "an integer or a tuple of integers or None", single=True, optional=True),
    "Factor": _several(number, "a number or a tuple of numbers", single=True),
    "Sequence[int]": several_integers,
    "Sequence[float]": _several(number, "a tuple of numbers", WRITTEN),
    "Lengths": _either(Tensor, several_integers),
    "Tensor | float": _either(Tensor, number),
    "torch.dtype": _instance(torch.dtype, "a dtype", "write one like torch.float32"),
    "torch.memory_format": _instance(torch.memory_format, "a memory format", "write one like torch.channels_last"),
}
# What is so plainly right that no check is called for it; not integers, which may be too large.
PLAIN = {
    tensor: (Tensor, torch.nn.Parameter),
    number: (float,),
    truth: (bool,),
    _truthiness: (bool,),
    _word: (str,),
}


def _expected(option: str, parameter: inspect.Parameter) -> Expected:
    """Returns the types of an option that need no check, and the check of the others."""
    kind, name = parameter.annotation.removesuffix(" | None"), parameter.name
    check = _truthiness if name in TRUTHY or option in TRUTHY else CHECKS.get(kind, _anything)
    types = PLAIN.get(check, ())
    optional = kind != parameter.annotation or kind == "Maybe" or parameter.default is None
    return frozenset((*types, type(None)) if optional else types), check


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
