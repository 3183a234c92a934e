"""``python -m reference [NAME ...]``: compares the ops of the catalog with PyTorch's built-ins.

``python -m reference --custom MODULE:NAME --builtin torch.nn.functional.NAME --shape 8,16`` compares a function of
yours, with an explanation of whatever differs; without ``--builtin`` differences of its own values judge it. From
other folders call ``scratchnet-check``.

``python -m reference speed [NAME ...]`` times them: see ``python -m reference speed --help``.

Exit status 0 when everything agrees, 1 when something differs, 2 for misuse.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from reference.commandline import expect_name, fail, write_files

PROGRAM = "python -m reference"

try:
    from rich.console import Console
    from rich.progress import Progress

    from reference.capabilities import capabilities, errors
    from reference.capabilities import table as matrix
    from reference.capabilities import write as write_matrix
    from reference.catalog import DTYPES, RECORDS, Record
    from reference.check import OpCheck, check_all, check_errors, on_all_cores
    from reference.conventions import CONVENTIONS, conventions
    from reference.report import (
        accuracy_of_all,
        console,
        failures,
        table,
        write_html,
        write_json,
        write_markdown,
        write_tensorboard,
    )
    from reference.speed import command as speed
    from scratchnet.testing import explain
    from scratchnet.testing.commandline import Misuse, add_options, examine
    from scratchnet.testing.compare import present
except ModuleNotFoundError as missing:
    fail(PROGRAM, f"{missing}; pip install -e '.[experiments]' brings what is missing")

__all__ = ["main"]

WRITERS: dict[str, Callable[[Path, Sequence[OpCheck], Sequence[str]], None]] = {
    "json": write_json,
    "markdown": write_markdown,
    "html": write_html,
    "tensorboard": write_tensorboard,
}
MATRIX = Path("docs/capabilities.md")
DTYPE_NAMES = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line, and returns its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["speed"]:
        return speed.main(words[1:])
    options = _parser().parse_args(words)
    screen = console()
    if options.list:
        screen.print("\n".join(RECORDS), highlight=False)
        return 0
    _check_usage(options)
    if options.conventions:
        CONVENTIONS.write_text(conventions(), encoding="utf-8")
        screen.print(f"written to {CONVENTIONS}", highlight=False)
        return 0
    if options.capabilities:
        return _show_capabilities([_find(name).name for name in options.names], screen)
    dtypes = [DTYPE_NAMES[name] for name in options.dtype] or list(DTYPES)
    if options.custom:
        try:
            found = examine(options, [DTYPE_NAMES[name] for name in options.dtype])
        except Misuse as error:
            fail(PROGRAM, str(error))
        # The whole name, which no op of the catalog has.
        results = [OpCheck(options.custom, dtype, (result,)) for dtype, result in found]
        complaints: list[str] = []
        said = [explain(c) for result in results for c in result.comparisons if not c.ok]
        closing = ""
    else:
        try:
            present(options.device or "cpu")
        except ValueError as error:
            fail(PROGRAM, f"--device: {str(error).partition(': ')[2]}")
        records = [_find(name) for name in options.names] or list(RECORDS.values())
        jobs = [(record, dtype) for record in records for dtype in dtypes]
        results = []
        with Progress(console=screen, transient=True, disable=not screen.is_terminal) as progress:
            results += progress.track(check_all(jobs, options.device), total=len(jobs), description="comparing")
        complaints = [complaint for record in records for complaint in check_errors(record)]
        said = [*failures(results), *complaints]
        closing = (
            f", over {len(records)} ops; {sum(len(r.errors) for r in records) - len(complaints)} errors on bad "
            f"input checked, {len(complaints)} unlike the built-in's"
        )
    screen.print(table(results))
    for text in said:
        screen.print(text, style="red", markup=False, highlight=False)
    agreeing = sum(result.ok for result in results)
    screen.print(f"{agreeing} of {len(results)} comparisons agree{closing}", highlight=False)
    if accurate := accuracy_of_all(results):  # of float64 alone there is nothing to say
        screen.print(accurate, highlight=False)
    write_files(PROGRAM, options, WRITERS, results, complaints)
    return 0 if agreeing == len(results) and not complaints else 1


def _show_capabilities(names: Sequence[str], screen: Console) -> int:
    """Prints the matrix; that of the whole catalog goes into the documentation too."""
    chosen = names or list(RECORDS)
    with Progress(console=screen, transient=True, disable=not screen.is_terminal) as progress:
        cells = progress.track(on_all_cores(capabilities, chosen), total=len(chosen), description="trying")
        found = dict(zip(chosen, cells, strict=True))
    screen.print(matrix(found))
    hindrances = list(errors(found))
    for line in hindrances:
        screen.print(line, style="red", markup=False, highlight=False)
    if not names:
        try:
            write_matrix(MATRIX, found)
        except OSError as error:
            fail(PROGRAM, f"expected to write {MATRIX}, got {error.strerror}")
        screen.print(f"written to {MATRIX}", highlight=False)
    return 1 if hindrances else 0


def _check_usage(options: argparse.Namespace) -> None:
    if options.custom and options.names:
        fail(PROGRAM, f"expected names of the catalog or --custom, got both: {' '.join(options.names)}")
    yours = (options.builtin, options.shape, options.arg, options.require, options.map, options.thorough)
    if not options.custom and any(yours):
        fail(PROGRAM, "expected --custom MODULE:NAME with --builtin, --shape and --arg, got none")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Compare the ops of the catalog with PyTorch's built-ins.",
        epilog="python -m reference speed --help: time them.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="ops to compare; all of them by default")
    parser.add_argument("--list", action="store_true", help="name the ops of the catalog and stop")
    parser.add_argument(
        "--capabilities", action="store_true", help=f"find what each op can do, and write it to {MATRIX}"
    )
    parser.add_argument(
        "--conventions", action="store_true", help=f"write {CONVENTIONS}: where our answers differ, and why"
    )
    parser.add_argument(
        "--dtype",
        action="append",
        default=[],
        choices=list(DTYPE_NAMES),
        help="only in this dtype; repeatable; all by default, float64 and float32 for --custom",
    )
    yours = parser.add_argument_group("a function of yours, which is imported and never evaluated")
    add_options(yours)
    written = parser.add_argument_group("what to write")
    written.add_argument("--json", type=Path, metavar="FILE", help="every row")
    written.add_argument("--markdown", type=Path, metavar="FILE", help="the table")
    written.add_argument("--html", type=Path, metavar="FILE", help="one page with the table and plots")
    written.add_argument("--tensorboard", type=Path, metavar="DIR", help="errors as scalars, the table as text")
    return parser


def _find(name: str) -> Record:
    expect_name(PROGRAM, "an op in the catalog", name, RECORDS)
    return RECORDS[name]


if __name__ == "__main__":
    sys.exit(main())
