"""``python -m reference [NAME ...]``: compares the ops of the catalog with PyTorch's built-ins.

``python -m reference --custom MODULE:NAME --builtin torch.nn.functional.NAME --shape 8,16`` compares your own function
and explains what differs; without ``--builtin`` it is checked against finite differences. From other folders call
``scratchnet-check``.

``python -m reference --models MODULE:MAKE MODULE:MAKE --shape 2,3,64,64`` compares two models layer by layer.

``python -m reference speed [NAME ...]`` times the ops, and ``python -m reference zoo [NAME ...]`` converts models of
other libraries and holds them against the originals: see ``--help`` of each.

Exit status 0 if everything agrees, 1 if something differs, 2 for misuse, 130 after Ctrl-C, which ends the comparisons.
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

    from reference.capabilities import capabilities, errors
    from reference.capabilities import table as capability_table
    from reference.capabilities import write as write_capabilities
    from reference.catalog import DTYPES, RECORDS, Record
    from reference.check import OpCheck, check_all, check_errors, on_all_cores
    from reference.conventions import CONVENTIONS, conventions
    from reference.report import (
        accuracy_of_all,
        console,
        failures,
        gather,
        table,
        write_html,
        write_json,
        write_markdown,
        write_tensorboard,
    )
    from reference.speed import command as speed
    from reference.zoo import command as zoo
    from scratchnet.testing import explain
    from scratchnet.testing.commandline import add_options, examine
    from scratchnet.testing.commandline_models import examine_models
    from scratchnet.testing.commandline_values import Misuse
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
CAPABILITIES = Path("docs/capabilities.md")
DTYPE_NAMES = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["speed"]:
        return speed.main(words[1:])
    if words[:1] == ["zoo"]:
        return zoo.main(words[1:])
    options = _parser().parse_args(words)
    screen, interrupted = console(), False
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
    if options.models:
        return _compare_models(options, screen)
    dtypes = [DTYPE_NAMES[name] for name in options.dtype] or list(DTYPES)
    if options.custom:
        try:
            found = examine(options, [DTYPE_NAMES[name] for name in options.dtype])
        except Misuse as error:
            fail(PROGRAM, str(error))
        # MODULE:NAME cannot be the name of an op of the catalog.
        results = [OpCheck(options.custom, dtype, (result,)) for dtype, result in found]
        complaints: list[str] = []
        texts = [explain(c) for result in results for c in result.comparisons if not c.ok]
        closing = ""
    else:
        try:
            present(options.device or "cpu")
        except ValueError as error:
            fail(PROGRAM, f"--device: {str(error).partition(': ')[2]}")
        records = [_find(name) for name in options.names] or list(RECORDS.values())
        jobs = [(record, dtype) for record in records for dtype in dtypes]
        results, interrupted = gather(screen, check_all(jobs, options.device), len(jobs), "comparing")
        complaints, closing = [], ""
        if not interrupted:
            complaints = [complaint for record in records for complaint in check_errors(record)]
            closing = (
                f", over {len(records)} ops; {sum(len(r.errors) for r in records) - len(complaints)} errors on bad "
                f"input checked, {len(complaints)} unlike the built-in's"
            )
        texts = [*failures(results), *complaints]
    screen.print(table(results))
    for text in texts:
        screen.print(text, style="red", markup=False, highlight=False)
    agreeing = sum(result.ok for result in results)
    screen.print(f"{agreeing} of {len(results)} comparisons agree{closing}", highlight=False)
    if accurate := accuracy_of_all(results):  # empty if only float64 was compared
        screen.print(accurate, highlight=False)
    write_files(PROGRAM, options, WRITERS, results, complaints)
    return 130 if interrupted else 0 if agreeing == len(results) and not complaints else 1


def _compare_models(options: argparse.Namespace, screen: Console) -> int:
    """Prints where two models depart."""
    if any(getattr(options, name) for name in WRITERS):
        fail(PROGRAM, f"--models: expected none of --{', --'.join(WRITERS)}; it only prints")
    try:
        found = examine_models(options)
    except Misuse as error:
        fail(PROGRAM, str(error))
    screen.print(str(found), style="green" if found.ok else "red", markup=False, highlight=False)
    return 0 if found.ok else 1


def _show_capabilities(names: Sequence[str], screen: Console) -> int:
    """Prints the table of capabilities, and writes that of the whole catalog to the documentation."""
    chosen = names or list(RECORDS)
    cells, interrupted = gather(screen, on_all_cores(capabilities, chosen), len(chosen), "trying")
    found = dict(zip(chosen, cells, strict=not interrupted))
    screen.print(capability_table(found))
    problems = list(errors(found))
    for line in problems:
        screen.print(line, style="red", markup=False, highlight=False)
    if interrupted:
        return 130
    if not names:
        try:
            write_capabilities(CAPABILITIES, found)
        except OSError as error:
            fail(PROGRAM, f"expected to write {CAPABILITIES}, got {error.strerror}")
        screen.print(f"written to {CAPABILITIES}", highlight=False)
    return 1 if problems else 0


def _check_usage(options: argparse.Namespace) -> None:
    if options.custom and options.names:
        fail(PROGRAM, f"expected names of the catalog or --custom, got both: {' '.join(options.names)}")
    if options.models:
        return  # which looks at its options itself
    custom_options = (options.builtin, options.shape, options.arg, options.require, options.map, options.thorough)
    if not options.custom and any(custom_options):
        fail(PROGRAM, "expected --custom MODULE:NAME with --builtin, --shape and --arg, got none")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Compare the ops of the catalog with PyTorch's built-ins.",
        epilog="python -m reference speed --help: time the ops. python -m reference zoo --help: whole models.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="ops to compare; all of them by default")
    parser.add_argument("--list", action="store_true", help="list the ops of the catalog and exit")
    parser.add_argument(
        "--capabilities", action="store_true", help=f"find out what each op can do and write it to {CAPABILITIES}"
    )
    parser.add_argument(
        "--conventions",
        action="store_true",
        help=f"write {CONVENTIONS}: where our results differ from the built-in's, and why",
    )
    parser.add_argument(
        "--dtype",
        action="append",
        default=[],
        choices=list(DTYPE_NAMES),
        help="compare only in this dtype; repeatable; default: all, or float64 and float32 for --custom",
    )
    add_options(parser.add_argument_group("your own function (imported, never evaluated)"))
    written = parser.add_argument_group("files to write")
    written.add_argument("--json", type=Path, metavar="FILE", help="every row of every comparison")
    written.add_argument("--markdown", type=Path, metavar="FILE", help="the table")
    written.add_argument("--html", type=Path, metavar="FILE", help="a page with the table and plots")
    written.add_argument("--tensorboard", type=Path, metavar="DIR", help="errors as scalars, the table as text")
    return parser


def _find(name: str) -> Record:
    expect_name(PROGRAM, "an op in the catalog", name, RECORDS)
    return RECORDS[name]


if __name__ == "__main__":
    sys.exit(main())
