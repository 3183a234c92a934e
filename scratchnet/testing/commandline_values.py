"""Reads the values of options: names that are imported, shapes, keyword arguments, devices."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from scratchnet.testing.compare import present

__all__ = ["Misuse", "argument", "find_device", "renamed", "resolve", "tensor", "try_call"]


class Misuse(ValueError):
    """The command line names something that is not there, or not what it should be."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


def resolve(name: str) -> Callable[..., Any]:
    """The function behind ``PKG.MOD:NAME`` or ``PKG.MOD.NAME``, by import alone.

    Raises:
        Misuse: if there is no such module or name, or it cannot be called.
    """
    module, colon, path = name.partition(":")
    if colon:
        found = _imported(module)
        if found is None:
            raise Misuse(
                f"expected a module before the colon of {name!r}: no module named {module!r} is found from this folder"
            )
        return _callable(name, found, path)
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        if (found := _imported(".".join(parts[:cut]))) is not None:
            return _callable(name, found, ".".join(parts[cut:]))
    raise Misuse(f"expected MODULE:NAME or MODULE.NAME, got {name!r}, of which no part is a module")


def _imported(module: str) -> Any:
    """A module, or None if there is none of this name."""
    if not all(part.isidentifier() for part in module.split(".")):
        return None
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever a module of someone else's raises as it is imported
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{module}.".startswith(f"{missing}."):
            return None
        raise Misuse(f"importing {module!r} raises {type(error).__name__}: {error}") from error


def _callable(name: str, found: Any, path: str) -> Callable[..., Any]:
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except Exception as error:
            raise Misuse(f"expected {name!r} to name a function, but {type(error).__name__}: {error}") from error
    if isinstance(found, type) and issubclass(found, torch.autograd.Function):
        return found.apply
    if not callable(found):
        raise Misuse(f"expected {name!r} to be a function, got {type(found).__name__}")
    return found


def tensor(text: str, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """Normal values in the shape ``8,16``, or integers from 0 to 9 for ``8,16:10``; an empty word is a number's.

    Raises:
        Misuse: if it is none.
    """
    words, colon, below = text.partition(":")
    try:
        sizes = tuple(int(word) for word in words.split(",") if word.strip())
        limit = int(below) if colon else 1
    except ValueError:
        raise Misuse(
            f"--shape: expected sizes such as 8,16, or 8:10 for integers below 10, got {text!r}"
        ) from None
    if min((*sizes, limit - 1)) < 0:
        raise Misuse(f"--shape: expected sizes of 0 or more, got {text!r}")
    try:
        if colon:
            return torch.randint(limit, sizes, generator=generator)
        return torch.randn(sizes, generator=generator, dtype=torch.float64).to(dtype)
    except (RuntimeError, TypeError) as error:
        raise Misuse(f"--shape: expected tensors that fit in memory, got {text}") from error


def argument(text: str) -> tuple[str, Any]:
    """``k=v`` as a keyword argument: v is a Python literal, or else the word itself.

    Raises:
        Misuse: if there is no ``=``, or no name before it.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise Misuse(f"--arg: expected k=v, got {text!r}")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def find_device(name: str | None) -> torch.device:
    """Returns the device of a name, which has to be present; the CPU for None.

    Raises:
        Misuse: if there is none.
    """
    try:
        return torch.device("cpu") if name is None else present(name)
    except ValueError as error:
        raise Misuse(f"--device: {str(error).partition(': ')[2]}") from error


def renamed(text: str) -> tuple[str, str]:
    """Splits ``w=weight``.

    Raises:
        Misuse: if it is none.
    """
    custom, equals, builtin = text.partition("=")
    if not (custom and equals and builtin):
        raise Misuse(f"--map: expected custom=builtin, such as w=weight, got {text!r}")
    return custom, builtin


def try_call(name: str, function: Callable[..., Any], inputs: Sequence[Tensor], arguments: dict[str, Any]) -> None:
    """Calls a function for the message that says which inputs it does not take.

    Raises:
        Misuse: if it raises.
    """
    try:
        function(*inputs, **arguments)
    except Exception as error:  # whatever it says of these inputs
        given = ", ".join(f"{tuple(x.shape)} in {str(x.dtype).removeprefix('torch.')}" for x in inputs)
        raise Misuse(f"{name} does not take {given}: {type(error).__name__}: {error}") from error
