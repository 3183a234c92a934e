"""What both command lines do with what their user types: names, files to write, and one line about what is wrong."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

__all__ = ["expect_name", "fail", "write_files"]


def fail(program: str, message: str) -> NoReturn:
    """Ends the program for misuse: one line, and status 2."""
    print(f"{program}: {message}", file=sys.stderr)
    raise SystemExit(2)


def expect_name(program: str, what: str, name: str, names: Iterable[str]) -> None:
    """Ends the program, with what may have been meant, unless there is such a name."""
    known = list(names)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"see {program} --list"
        fail(program, f"expected the name of {what}, got {name!r}; {hint}")


def write_files(
    program: str, options: argparse.Namespace, writers: Mapping[str, Callable[..., None]], *found: Any
) -> None:
    """Writes what was found in each format that was asked for.

    Args:
        program: whose command line it is.
        options: the path for each format, None where it was not asked for.
        writers: by format; that of a folder is called ``tensorboard``.
        *found: what the writers get after the path.
    """
    for name, write in writers.items():
        if (path := getattr(options, name)) is not None:
            try:
                write(path, *found)
            except OSError as error:
                place = "folder" if name == "tensorboard" else "file"
                fail(program, f"expected a writable {place} for --{name}, got {path}: {error.strerror}")
