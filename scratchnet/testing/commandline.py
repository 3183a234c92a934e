"""``scratchnet-check MODULE:FUNCTION``: compares a function of yours with what it should equal.

``scratchnet-check --models MODULE:MAKE MODULE:MAKE`` compares two models layer by layer. It runs from the folder that
your modules are imported from; names are imported and never evaluated.

Exit status 0 when everything agrees, 1 when something differs, 2 for misuse.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from scratchnet.testing.check import NEEDS_A_BUILTIN, check
from scratchnet.testing.checks import CHECKS
from scratchnet.testing.compare import compare, present
from scratchnet.testing.comparison import Comparison
from scratchnet.testing.examination import summary
from scratchnet.testing.models import ModelComparison, compare_models
from scratchnet.testing.verdict import explain

__all__ = ["Misuse", "add_options", "argument", "examine", "examine_models", "main", "resolve", "tensor"]

PROGRAM = "scratchnet-check"
DTYPES = {str(t).removeprefix("torch."): t for t in (torch.float64, torch.float32, torch.bfloat16, torch.float16)}


class Misuse(ValueError):
    """The command line names something that is not there, or not what it should be."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


def main(words: Sequence[str] | None = None) -> int:
    """Runs the command line, and returns its exit status."""
    parser = argparse.ArgumentParser(PROGRAM, description="Compare a function of yours with what it should equal.")
    parser.add_argument("name", nargs="?", metavar="MODULE:NAME", help="the same as --custom")
    add_options(parser)
    parser.add_argument(
        "--dtype",
        action="append",
        default=[],
        choices=list(DTYPES),
        help="float64 and float32 by default; repeatable",
    )
    options = parser.parse_args(words)
    sys.path.insert(0, os.getcwd())
    try:
        if options.models:
            found = examine_models(options)
            print(found)
            return 0 if found.ok else 1
        if (options.name is None) == (options.custom is None):
            raise Misuse(f"expected one MODULE:NAME, as in {PROGRAM} mypackage.ops:MyGELU; see {PROGRAM} --help")
        options.custom = options.custom or options.name
        results = examine(options, [DTYPES[name] for name in options.dtype])
    except Misuse as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    for _, result in results:
        print(result if result.ok else explain(result))
    return 0 if all(result.ok for _, result in results) else 1


def add_options(parser: argparse._ActionsContainer) -> None:
    """Adds the options that say what to compare; `examine` reads them."""
    parser.add_argument(
        "--custom", metavar="MODULE:NAME", help="the function, autograd.Function or nn.Module to compare"
    )
    parser.add_argument(
        "--builtin", metavar="NAME", help="what it must equal, such as torch.nn.functional.softmax"
    )
    parser.add_argument(
        "--models",
        nargs=2,
        metavar="MODULE:MAKE",
        help="two functions that make models, to compare layer by layer in float64 and float32",
    )
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="8,16",
        help="of each input in turn; 8:10 is 8 integers below 10",
    )
    parser.add_argument("--arg", action="append", default=[], metavar="K=V", help="a keyword argument of both")
    parser.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="CHECK,CHECK",
        help=f"what must be offered: {', '.join(CHECKS)}",
    )
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="W=WEIGHT",
        help="a parameter's name, and the built-in's for it",
    )
    parser.add_argument("--device", help="where to compare, such as cuda; the CPU by default")
    parser.add_argument("--thorough", action="store_true", help="examine everything that can be")


def examine(options: argparse.Namespace, dtypes: Sequence[torch.dtype]) -> list[tuple[torch.dtype, Comparison]]:
    """Compares in each dtype, in the widest with every usual check; without a built-in `check` judges, in float64.

    A function that takes float32 alone is judged there.

    Raises:
        Misuse: if a name, shape or argument is none, or the built-in does not take these inputs.
    """
    names = [name for name in (options.custom, options.builtin) if name is not None]
    arguments = dict(argument(text) for text in options.arg)
    asked: dict[str, Any] = dict.fromkeys(_required(options.require, options.builtin), True)
    if options.map:
        if options.builtin is None:
            raise Misuse("--map: expected a --builtin to compare with, got none")
        asked["map"] = dict(_renamed(text) for text in options.map)
    if not options.shape:
        raise Misuse("expected a --shape for each input, such as --shape 8,16")

    device = _device(options.device)

    def call(dtype: torch.dtype) -> tuple[list[Callable[..., Any]], dict[str, Any], list[Tensor]]:
        generator = torch.Generator().manual_seed(0)
        inputs = [tensor(text, dtype, generator).to(device) for text in options.shape]
        return *_sides(names, arguments, dtype, device), inputs

    refused = "" if dtypes else _refusal(*call(torch.float64))
    if refused and not _refusal(*call(torch.float32)):
        dtypes, refused = [torch.float32], f", since float64 is refused: {refused}"
    elif options.builtin is None:
        dtypes, refused = [torch.float64], ""
    dtypes = dtypes or [torch.float64, torch.float32]
    widest = max(dtypes, key=lambda dtype: dtype.itemsize)
    results = []
    for dtype in dtypes:
        sides, shared, inputs = call(dtype)
        # Shorter dtypes are about rounding: second derivatives and vmap are judged in the widest.
        first = {} if dtype is widest else {"double_backward": False, "vmap": False}
        if options.builtin is not None:
            _try(options.builtin, sides[1], inputs, shared)
        if options.thorough and dtype is widest:
            first = {"thorough": True}
        name = f"{options.custom.rpartition(':')[2]} in {str(dtype).removeprefix('torch.')}{refused}"
        try:
            run = check if options.builtin is None else compare
            result = run(*sides, *inputs, name=name, **{**first, **asked, **shared})
        except (TypeError, ValueError) as error:  # what `compare` says of parameters that do not match
            raise Misuse(str(error)) from error
        results.append((dtype, result))
    return results


def examine_models(options: argparse.Namespace) -> ModelComparison:
    """Compares the two models that ``--models`` names, each made after the same seed.

    Raises:
        Misuse: if a name, shape or argument is none, or a model cannot be made or does not take these inputs.
    """
    refused = {
        "a name": getattr(options, "name", None) or getattr(options, "names", None),
        "--custom": options.custom,
        "--builtin": options.builtin,
        "--require": options.require,
        "--thorough": options.thorough,
        "--dtype": options.dtype,
    }
    for what, given in refused.items():
        if given:
            raise Misuse(f"--models: expected --shape, --arg, --map and --device alone beside it, got {what} too")
    if not options.shape:
        raise Misuse("expected a --shape for each input, such as --shape 8,16")
    arguments, device = dict(argument(text) for text in options.arg), _device(options.device)
    generator = torch.Generator().manual_seed(0)
    inputs = [tensor(text, torch.float64, generator).to(device) for text in options.shape]
    models = [_model(name, arguments).to(device) for name in options.models]
    for name, model in zip(options.models, models, strict=True):
        _try(name, copy.deepcopy(model).double(), inputs, {})
    return compare_models(*models, *inputs, map=dict(_renamed(text) for text in options.map))


def _model(name: str, arguments: dict[str, Any]) -> nn.Module:
    found = resolve(name)
    torch.manual_seed(0)
    try:
        model = found if isinstance(found, nn.Module) else found(**arguments)
    except Exception as error:  # whatever a function of someone else's raises
        raise Misuse(f"making {name} raises {type(error).__name__}: {error}; see --arg") from error
    if not isinstance(model, nn.Module):
        raise Misuse(f"expected {name} to make a torch.nn.Module, got {type(model).__name__}")
    return model


def resolve(name: str) -> Callable[..., Any]:
    """The function behind ``PKG.MOD:NAME`` or ``PKG.MOD.NAME``, by import alone.

    Raises:
        Misuse: if there is no such module or name, or it cannot be called.
    """
    module, colon, path = name.partition(":")
    if colon:
        found = _imported(module)
        if found is None:
            raise Misuse(f"expected a module before the colon of {name!r}: no module named {module!r} is found")
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


def _sides(
    names: Sequence[str], arguments: dict[str, Any], dtype: torch.dtype, device: torch.device
) -> tuple[list[Callable[..., Any]], dict[str, Any]]:
    """The functions and the keyword arguments of their calls; modules are built, with these arguments."""
    found = [resolve(name) for name in names]
    built = [isinstance(f, type) and issubclass(f, nn.Module) for f in found]
    sides: list[Callable[..., Any]] = []
    # Bound, so that an argument under the name of a check still is one of the function.
    bound = any(built) or not arguments.keys().isdisjoint(inspect.signature(compare).parameters)
    for name, function, build in zip(names, found, built, strict=True):
        if build:
            try:
                function = function(**arguments)
            except Exception as error:
                raise Misuse(f"building {name} raises {type(error).__name__}: {error}; see --arg") from error
        elif bound and arguments:
            function = partial(function, **arguments)
        sides.append(copy.deepcopy(function).to(device, dtype) if isinstance(function, nn.Module) else function)
    return sides, {} if bound else arguments


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


def _device(name: str | None) -> torch.device:
    try:
        return torch.device("cpu") if name is None else present(name)
    except ValueError as error:
        raise Misuse(f"--device: {str(error).partition(': ')[2]}") from error


def _refusal(sides: Sequence[Callable[..., Any]], arguments: dict[str, Any], inputs: Sequence[Tensor]) -> str:
    """Returns the error of a function that refuses these inputs; empty if it takes them."""
    try:
        sides[0](*inputs, **arguments)
    except Exception as error:  # whatever it raises
        return summary(error)
    return ""


def _renamed(text: str) -> tuple[str, str]:
    custom, equals, builtin = text.partition("=")
    if not (custom and equals and builtin):
        raise Misuse(f"--map: expected custom=builtin, such as w=weight, got {text!r}")
    return custom, builtin


def _required(texts: Sequence[str], builtin: str | None) -> list[str]:
    """The checks behind ``forward_mode,vmap``."""
    names = [name.strip() for text in texts for name in text.split(",")]
    for name in names:
        if name not in CHECKS:
            raise Misuse(f"--require: expected one of {', '.join(CHECKS)}, got {name!r}")
        if builtin is None and name in NEEDS_A_BUILTIN:
            raise Misuse(f"--require {name}: expected a --builtin to compare with, got none")
    return names


def _try(name: str, function: Callable[..., Any], inputs: Sequence[Tensor], arguments: dict[str, Any]) -> None:
    try:
        function(*inputs, **arguments)
    except Exception as error:  # whatever the built-in says of these inputs
        given = ", ".join(f"{tuple(x.shape)} in {str(x.dtype).removeprefix('torch.')}" for x in inputs)
        raise Misuse(f"{name} does not take {given}: {type(error).__name__}: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
