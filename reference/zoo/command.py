"""``python -m reference zoo [NAME ...]``: holds whole models, converted and intercepted, against the originals.

A name is a model's, such as ``torchvision.resnet18`` or ``resnet18``, a library's, or a pattern such as ``timm.swin*``.

Exit status 0 if every model that ran is equal and pure, 1 if one is not, 2 for misuse, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from reference.commandline import expect_name, fail, write_files
from reference.report import console, gather
from reference.zoo.entry import Entry
from reference.zoo.report import HOW_TO_READ, summary, table, write_html, write_json
from reference.zoo.trial import Trial, attempt

__all__ = ["entries", "main"]

PROGRAM = "python -m reference zoo"
LIBRARIES = ("torchvision", "timm", "transformers")
WRITERS: dict[str, Callable[[Path, Sequence[Trial]], None]] = {"json": write_json, "html": write_html}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    options = _parser().parse_args(arguments)
    if not options.limit > 0:
        fail(PROGRAM, f"--limit: expected a positive number, got {options.limit:g}")
    screen = console()
    known = entries()
    chosen = [entry for entry in known if entry.usual]
    if options.names:
        found = [[entry for entry in known if _matches(entry.name, name)] for name in options.names]
        for name, models in zip(options.names, found, strict=True):
            if not models:
                _unknown(name, known)
        chosen = list(dict.fromkeys(entry for models in found for entry in models))
    if options.list:
        screen.print("\n".join(entry.name for entry in chosen), highlight=False)
        return 0
    tried = (attempt(entry, options.limit * 1e6) for entry in chosen)
    trials, interrupted = gather(screen, tried, len(chosen), "trying models")
    screen.print(table(trials))
    for trial in trials:
        for kernel in trial.kernels:
            screen.print(f"{trial.name}: {kernel}", style="red", markup=False, highlight=False)
    screen.print(HOW_TO_READ, highlight=False)
    screen.print(summary(trials), highlight=False)
    write_files(PROGRAM, options, WRITERS, trials)
    return 130 if interrupted else 0 if all(trial.ok for trial in trials) else 1


def entries() -> list[Entry]:
    """Lists the models of all libraries that are installed."""
    found: list[Entry] = []
    for library in LIBRARIES:
        try:
            found += importlib.import_module(f"reference.zoo.from_{library}").entries()
        except ModuleNotFoundError as missing:
            if missing.name != library:
                fail(PROGRAM, f"importing {library}: {missing}; pip install -e '.[zoo]' brings what is missing")
    return found


def _matches(name: str, pattern: str) -> bool:
    library, _, model = name.partition(".")
    return pattern == library or fnmatchcase(name, pattern) or fnmatchcase(model, pattern)


def _unknown(name: str, known: Sequence[Entry]) -> None:
    library = name.partition(".")[0]
    if library in LIBRARIES and not any(_matches(entry.name, library) for entry in known):
        fail(PROGRAM, f"{library} is not installed; pip install -e '.[zoo]' brings what is missing")
    names = [entry.name for entry in known]
    expect_name(PROGRAM, "a model", name, names if "." in name else [n.partition(".")[2] for n in names])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Convert models of torchvision, timm and transformers, and train them beside the originals: random "
        "weights, small inputs, two layers where more equal ones follow each other, float64.",
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="models, libraries or patterns such as 'timm.swin*'; by default all models but timm's variants",
    )
    parser.add_argument("--list", action="store_true", help="list the models that would be tried and exit")
    parser.add_argument(
        "--limit",
        type=float,
        default=60.0,
        metavar="M",
        help="million parameters above which models are left out (60)",
    )
    written = parser.add_argument_group("files to write")
    written.add_argument("--json", type=Path, metavar="FILE", help="every trial, kernel and module that was left")
    written.add_argument("--html", type=Path, metavar="FILE", help="a page with the table")
    return parser
