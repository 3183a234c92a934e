"""``scratchnet-check MODULE:FUNCTION``: compares a function of yours with what it should equal.

``scratchnet-check --models MODULE:MAKE MODULE:MAKE`` compares two models layer by layer. It runs from the folder that
your modules are imported from; names are imported and never evaluated.

Exit status 0 when everything agrees, 1 when something differs, 2 for misuse.
"""

from __future__ import annotations

import argparse
import copy
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
from scratchnet.testing.commandline_models import examine_models
from scratchnet.testing.commandline_values import Misuse, argument, find_device, renamed, resolve, tensor, try_call
from scratchnet.testing.compare import compare
from scratchnet.testing.comparison import Comparison
from scratchnet.testing.examination import summary
from scratchnet.testing.verdict import explain

__all__ = ["add_options", "examine", "main"]

PROGRAM = "scratchnet-check"
DTYPES = {str(t).removeprefix("torch."): t for t in (torch.float64, torch.float32, torch.bfloat16, torch.float16)}


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
        asked["map"] = dict(renamed(text) for text in options.map)
    if not options.shape:
        raise Misuse("expected a --shape for each input, such as --shape 8,16")

    device = find_device(options.device)

    def call(dtype: torch.dtype) -> tuple[list[Callable[..., Any]], dict[str, Any], list[Tensor]]:
        generator = torch.Generator().manual_seed(0)
        inputs = [tensor(text, dtype, generator).to(device) for text in options.shape]
        return *_sides(names, arguments, dtype, device), inputs

    because = ""
    if not dtypes and (refused := _refusal(*call(torch.float64))) and not _refusal(*call(torch.float32)):
        dtypes, because = [torch.float32], f", since float64 is refused: {refused}"
    elif options.builtin is None:
        dtypes = [torch.float64]
    dtypes = dtypes or [torch.float64, torch.float32]
    widest = max(dtypes, key=lambda dtype: dtype.itemsize)
    results = []
    for dtype in dtypes:
        sides, shared, inputs = call(dtype)
        # Shorter dtypes are about rounding: second derivatives and vmap are judged in the widest.
        first = {} if dtype is widest else {"double_backward": False, "vmap": False}
        if options.builtin is not None:
            try_call(options.builtin, sides[1], inputs, shared)
        if options.thorough and dtype is widest:
            first = {"thorough": True}
        name = f"{options.custom.rpartition(':')[2]} in {str(dtype).removeprefix('torch.')}{because}"
        try:
            run = check if options.builtin is None else compare
            result = run(*sides, *inputs, name=name, **{**first, **asked, **shared})
        except (TypeError, ValueError) as error:  # what `compare` says of parameters that do not match
            raise Misuse(str(error)) from error
        results.append((dtype, result))
    return results


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


def _refusal(sides: Sequence[Callable[..., Any]], arguments: dict[str, Any], inputs: Sequence[Tensor]) -> str:
    """Returns the error of a function that refuses these inputs; empty if it takes them."""
    try:
        sides[0](*inputs, **arguments)
    except Exception as error:  # whatever it raises
        return summary(error)
    return ""


def _required(texts: Sequence[str], builtin: str | None) -> list[str]:
    """The checks behind ``forward_mode,vmap``."""
    names = [name.strip() for text in texts for name in text.split(",")]
    for name in names:
        if name not in CHECKS:
            raise Misuse(f"--require: expected one of {', '.join(CHECKS)}, got {name!r}")
        if builtin is None and name in NEEDS_A_BUILTIN:
            raise Misuse(f"--require {name}: expected a --builtin to compare with, got none")
    return names


if __name__ == "__main__":
    sys.exit(main())
