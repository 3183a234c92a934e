"""Parses the flags of a chapter, and reads the settings of an earlier run."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import tyro

from experiments.chapters import CHAPTERS
from experiments.errors import ExperimentError, UsageError
from experiments.run import LENGTH, Run
from experiments.settings import UNSAVED, CommonSettings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["parse", "read_flags", "resume"]

T = TypeVar("T", bound="DataclassInstance")
SettingsT = TypeVar("SettingsT", bound=CommonSettings)


def parse(kind: type[SettingsT], words: Sequence[str], prog: str) -> SettingsT:
    """Parses flags into settings; missing flags take the preset's value, or else the field's default.

    Raises:
        UsageError: A flag is unknown or its value is invalid.
        SystemExit: ``--help`` was given, and the help is printed.
    """
    given = read_flags(kind, [word for word in words if word not in ("-h", "--help")], prog)
    try:
        default = dataclasses.replace(kind(), **given.of_preset(), preset=given.preset)
    except TypeError as error:
        raise TypeError(f"a preset of {kind.__module__} sets an unknown field: {error}") from error
    return read_flags(kind, words, prog, default)


def read_flags(kind: type[T], words: Sequence[str], prog: str, default: T | None = None) -> T:
    """Parses flags into a dataclass; missing flags take their value from ``default``.

    Raises:
        UsageError: A flag is unknown or its value is invalid.
        SystemExit: ``--help`` was given, and the help is printed.
    """
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            settings, unknown = tyro.cli(
                kind,
                args=words,
                prog=prog,
                default=tyro.MISSING_NONPROP if default is None else default,
                return_unknown_args=True,
            )
    except SystemExit as stop:
        if stop.code:
            raise UsageError(f"{_one_line(errors.getvalue())}; {prog} --help lists the flags") from None
        raise
    if unknown:
        flags = [_flag(field.name) for field in dataclasses.fields(kind)]
        near = difflib.get_close_matches(unknown[0].partition("=")[0], flags, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"{prog} --help lists the flags"
        raise UsageError(f"expected a flag of this chapter, got {unknown[0]}; {remedy}")
    return settings


def resume(settings: SettingsT, words: Sequence[str], prog: str) -> tuple[Run, SettingsT]:
    """Opens the run that ``settings.resume`` names, and restores its settings.

    ``--epochs`` and ``--max-steps`` prolong the run; one of them alone replaces both.

    Raises:
        UsageError: The folder does not hold a run of this chapter, or a flag contradicts the run's settings.
        ExperimentError: Its ``config.json`` is damaged.
    """
    assert settings.resume is not None
    run = Run.reopen(settings.resume)
    if run.chapter not in CHAPTERS:
        raise ExperimentError(
            f"'{run.folder / 'config.json'}' is damaged (it names no chapter); start a new run without --resume"
        )
    if not prog.endswith(f" {run.chapter}"):
        raise UsageError(f"'{run.folder}' is a run of another chapter; continue with: {run.resume_command()}")
    kind = type(settings)
    names = [field.name for field in dataclasses.fields(kind) if field.name not in UNSAVED]
    try:
        present = {name: run.config[name] for name in names if run.config[name] is not None}
        stored = read_flags(kind, [_word(name, value) for name, value in present.items()], prog)
        stored.check()
    except (KeyError, UsageError) as error:
        raise ExperimentError(
            f"'{run.folder / 'config.json'}' is damaged ({error}); start a new run without --resume"
        ) from error
    requested = read_flags(kind, words, prog, default=stored)
    given = {word.partition("=")[0].replace("_", "-") for word in words}
    length: dict[str, Any] = {
        name: getattr(requested, name) if _flag(name) in given else None for name in LENGTH if name in names
    }
    prolongs = any(value is not None for value in length.values()) and any(
        length[name] != getattr(stored, name) for name in length
    )
    for name in names:
        was, now = getattr(stored, name), getattr(requested, name)
        if prolongs and name in length:
            if was is not None and now < was:
                raise UsageError(f"{_flag(name)}: expected {was} or more, as in config.json, got {now}")
        elif now != was and not _same_path(now, was):
            raise UsageError(
                f"{_flag(name)}: expected {was}, as in config.json, got {now}; leave it out, or start a new run "
                "without --resume"
            )
    if prolongs or not run.finished:
        run.lock()
    if prolongs:
        run.prolong(length)
        stored = dataclasses.replace(stored, **length)
        stored.check()
        changes = ", ".join(f"{_flag(name)} {run.earlier[-1][name]} to {now}" for name, now in length.items())
        print(f"prolongs '{run.folder}': {changes}; the learning rate follows the new length from here on")
    return run, dataclasses.replace(stored, resume=settings.resume)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _word(name: str, value: Any) -> str:
    """Formats a setting as one word of a command line."""
    if isinstance(value, bool):
        return _flag(name if value else f"no_{name}")
    return f"{_flag(name)}={value}"


def _same_path(a: Any, b: Any) -> bool:
    return isinstance(a, str) and isinstance(b, str) and Path(a).expanduser().resolve() == Path(b).resolve()


def _one_line(box: str) -> str:
    """Extracts the first paragraph from tyro's framed error message."""
    paragraph: list[str] = []
    for line in box.splitlines()[1:]:
        text = line.strip("│| ")
        if text.strip("─-╰╯+"):
            paragraph.append(text)
        elif paragraph:
            break
    sentence = " ".join(paragraph).rstrip(" .")
    sentence = re.sub(
        r"no type matching \{None\}\|(\S+) could be .* from \[(.*)\]", r"expected \1, got \2", sentence
    )
    return sentence.removeprefix("Error parsing ")
