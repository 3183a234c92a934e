"""``python -m reference [NAME ...]``: compares the ops of the catalog with PyTorch's built-ins.

Exit status 0 when everything agrees, 1 when something differs, 2 for misuse.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch
from rich.progress import Progress

from reference.catalog import DTYPES, RECORDS, Record
from reference.check import OpCheck, check, check_errors
from reference.report import console, failures, table

__all__ = ["main"]

DTYPE_NAMES = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line, and returns its exit status."""
    options = _parser().parse_args(arguments)
    screen = console()
    if options.list:
        screen.print("\n".join(RECORDS), highlight=False)
        return 0
    records = [_find(name) for name in options.names] or list(RECORDS.values())
    dtypes = [DTYPE_NAMES[name] for name in options.dtype] or list(DTYPES)
    jobs = [(record, dtype) for record in records for dtype in dtypes if dtype in record.dtypes]
    results: list[OpCheck] = []
    with Progress(console=screen, transient=True, disable=not screen.is_terminal) as progress:
        for record, dtype in progress.track(jobs, description="comparing"):
            results.append(check(record, dtype))
    complaints = [complaint for record in records for complaint in check_errors(record)]
    screen.print(table(results))
    for text in [*failures(results), *complaints]:
        screen.print(text, style="red", markup=False, highlight=False)
    agreeing = sum(result.ok for result in results)
    screen.print(
        f"{agreeing} of {len(results)} comparisons agree, over {len(records)} ops; "
        f"{sum(len(r.errors) for r in records) - len(complaints)} errors on bad input checked, "
        f"{len(complaints)} unlike the built-in's",
        highlight=False,
    )
    if options.json is not None:
        _write(options.json, results, complaints)
    return 0 if agreeing == len(results) and not complaints else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reference", description="Compare the ops of the catalog with PyTorch's built-ins."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="ops to compare; all of them by default")
    parser.add_argument("--list", action="store_true", help="name the ops of the catalog and stop")
    parser.add_argument(
        "--dtype",
        action="append",
        default=[],
        choices=list(DTYPE_NAMES),
        help="only in this dtype; repeatable",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every row to a JSON file")
    return parser


def _find(name: str) -> Record:
    if name in RECORDS:
        return RECORDS[name]
    near = difflib.get_close_matches(name, RECORDS, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "see python -m reference --list"
    _fail(f"expected the name of an op in the catalog, got {name!r}; {hint}")


def _write(path: Path, results: Sequence[OpCheck], complaints: Sequence[str]) -> None:
    content = {
        "torch": torch.__version__,
        "ok": all(r.ok for r in results) and not complaints,
        "results": [r.to_dict() for r in results],
        "errors": list(complaints),
    }
    try:
        path.write_text(json.dumps(content, indent=1))
    except OSError as error:
        _fail(f"expected a writable file for --json, got {path}: {error.strerror}")


def _fail(message: str) -> NoReturn:
    print(f"python -m reference: {message}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    sys.exit(main())
