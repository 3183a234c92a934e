"""Checks of names, writing of files, and error messages that both command lines share."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

__all__ = ["expect_name", "fail", "write_files"]


def fail(program: str, message: str) -> NoReturn:
    """Exits with status 2 and a message of one line."""
    print(f"{program}: {message}", file=sys.stderr)
    raise SystemExit(2)


def expect_name(program: str, what: str, name: str, names: Iterable[str]) -> None:
    """Exits with status 2 and a hint unless the name is known."""
    known = list(names)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"see {program} --list"
        fail(program, f"expected the name of {what}, got {name!r}; {hint}")


def write_files(
    program: str, options: argparse.Namespace, writers: Mapping[str, Callable[..., None]], *found: Any
) -> None:
    """Writes the results in each format that was asked for.

    Args:
        program: The program's name, for messages.
        options: A path for each format, or None.
        writers: The writers by format; ``tensorboard`` writes a folder.
        *found: Arguments of the writers after the path.
    """
    for name, write in writers.items():
        if (path := getattr(options, name)) is not None:
            try:
                write(path, *found)
            except OSError as error:
                place = "folder" if name == "tensorboard" else "file"
                fail(program, f"expected a writable {place} for --{name}, got {path}: {error.strerror}")
