"""A function of yours against a built-in, from the names and shapes of the command line."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from reference.catalog import Make
from reference.check import OpCheck
from scratchnet.testing import check, compare

__all__ = ["Misuse", "argument", "examine", "resolve", "shape"]


class Misuse(ValueError):
    """The command line names something that is not there, or not what it should be."""


def resolve(name: str) -> Callable[..., Any]:
    """The function behind ``PKG.MOD:NAME`` or ``PKG.MOD.NAME``, by import alone.

    Raises:
        Misuse: if there is no such module or name, or it cannot be called.
    """
    if ":" in name:
        module, _, path = name.partition(":")
        return _callable(name, _imported(name, module), path)
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        return _callable(name, found, ".".join(parts[cut:]))
    raise Misuse(f"expected PKG.MOD:NAME or PKG.MOD.NAME, got {name!r}, of which no part is a module")


def _imported(name: str, module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Misuse(f"expected a module before the colon of {name!r}: {error}") from None
    except Exception as error:  # whatever a module of someone else's raises as it is imported
        raise Misuse(f"importing {module!r} raises {type(error).__name__}: {error}") from error


def _callable(name: str, found: Any, path: str) -> Callable[..., Any]:
    for part in path.split("."):
        if not hasattr(found, part):
            raise Misuse(f"expected {name!r} to name a function, but {found!r} has no {part!r}"[:200])
        found = getattr(found, part)
    if isinstance(found, type) and issubclass(found, torch.autograd.Function):
        return found.apply
    if not callable(found):
        raise Misuse(f"expected {name!r} to be a function, got {type(found).__name__}")
    return found


def shape(text: str) -> tuple[int, ...]:
    """``8,16`` as a shape; an empty word is that of a number.

    Raises:
        Misuse: if it is none.
    """
    try:
        sizes = tuple(int(word) for word in text.split(",") if word.strip())
    except ValueError:
        raise Misuse(f"--shape: expected sizes such as 8,16, got {text!r}") from None
    if any(size < 0 for size in sizes):
        raise Misuse(f"--shape: expected sizes of 0 or more, got {text!r}")
    return sizes


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


def examine(
    custom: str,
    builtin: str | None,
    shapes: Sequence[str],
    arguments: Sequence[str],
    dtypes: Sequence[torch.dtype],
) -> list[OpCheck]:
    """Compares in each dtype, in float64 with every check; without a built-in `check` judges, in float64 alone.

    Raises:
        Misuse: if a name, shape or argument is none, or the built-in does not take these inputs.
    """
    ours, theirs = resolve(custom), None if builtin is None else resolve(builtin)
    sizes, options = [shape(text) for text in shapes], dict(map(argument, arguments))
    if not sizes:
        raise Misuse("--custom: expected a --shape for each input tensor, such as --shape 8,16")
    if options:
        # Bound, so that an option under the name of a check still is one of the function.
        ours, theirs = partial(ours, **options), None if theirs is None else partial(theirs, **options)
    name = custom.rpartition(":")[2]
    results = []
    for dtype in dtypes if theirs is not None else [torch.float64]:
        make = Make(dtype)
        try:
            inputs = [make.normal(*size) for size in sizes]
        except (RuntimeError, TypeError) as error:
            raise Misuse(f"--shape: expected tensors that fit in memory, got {' '.join(shapes)}") from error
        if theirs is None:
            result = check(ours, *inputs, name=name)
        else:
            _try(builtin, theirs, inputs)
            full = dtype is torch.float64
            # What needs another dtype has a row of its own.
            result = compare(
                ours, theirs, *inputs, name=name, thorough=full, dtypes=False, double_backward=full, vmap=full
            )
        # The whole name, which no op of the catalog has.
        results.append(OpCheck(custom, dtype, (result,)))
    return results


def _try(name: str | None, function: Callable[..., Any], inputs: Sequence[Any]) -> None:
    try:
        function(*inputs)
    except Exception as error:  # whatever the built-in says of these inputs
        given = ", ".join(str(tuple(x.shape)) for x in inputs)
        raise Misuse(
            f"{name} does not take {given} in {inputs[0].dtype}: {type(error).__name__}: {error}"
        ) from error
