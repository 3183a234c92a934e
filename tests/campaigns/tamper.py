"""Folders of stopped runs in which a file is damaged: continuing must be refused in one line, or change nothing.

A file is flipped in one bit, cut off, deleted, swapped with another, replaced by that of a run with another seed, or
replaced by a symbolic link to a file elsewhere, which must stay as it is.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from .kills import at_event
from .training import CHAPTERS, campaign, differences, finished, launch, run_of, said, wait

PRECIOUS = b"precious"


@cache
def stopped(chapter: str, seed: int) -> Path:
    """Returns the folder of a run that was killed after two thirds of its file events."""
    folder, at = Path(tempfile.mkdtemp(prefix="campaign-")), finished(chapter).events * 2 // 3
    words = f"{chapter.split()[0]} {CHAPTERS[chapter]} --seed {seed} --runs {folder}/runs"
    wait(launch(words, folder / "out", at_event(folder / "runs", at)))
    run = run_of(folder)
    assert run is not None, said(folder)
    return run


def flip(rng: random.Random, path: Path, run: Path, other: Path) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def truncate(rng: random.Random, path: Path, run: Path, other: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content) + 1)])


def delete(rng: random.Random, path: Path, run: Path, other: Path) -> None:
    path.unlink()


def swap(rng: random.Random, path: Path, run: Path, other: Path) -> None:
    second = rng.choice(files(run))
    contents = path.read_bytes(), second.read_bytes()
    path.write_bytes(contents[1]), second.write_bytes(contents[0])


def replace(rng: random.Random, path: Path, run: Path, other: Path) -> None:
    theirs = other / path.relative_to(run)
    theirs = theirs if theirs.is_file() else rng.choice(files(other))
    shutil.copyfile(theirs, path)


def link(rng: random.Random, path: Path, run: Path, other: Path) -> None:
    precious = run.parent / "precious"
    path.unlink()
    path.symlink_to(os.path.relpath(precious, path.parent) if rng.random() < 0.5 else precious)


ACTIONS: list[Callable[[random.Random, Path, Path, Path], None]] = [flip, truncate, delete, swap, replace, link]


def files(run: Path) -> list[Path]:
    """Returns the files of a run; those that are read back as often as all others."""
    found = sorted(path for path in run.rglob("*") if path.is_file())
    read = [path for path in found if path.suffix in (".pt", ".jsonl", ".json")]
    return [*found, *read * max(1, len(found) // max(len(read), 1))]


def judge(seed: int, number: int) -> tuple[str, str]:
    """Tampers with one run and continues it; returns what became of it, and what is wrong with it, if anything is."""
    rng = random.Random(f"{seed}/{number}")
    chapter = list(CHAPTERS)[number % len(CHAPTERS)]
    folder = Path(tempfile.mkdtemp(prefix="campaign-"))
    try:
        source = stopped(chapter, 0)
        run = folder / "runs" / source.name
        shutil.copytree(source, run)
        (folder / "runs" / "precious").write_bytes(PRECIOUS)
        action, path = rng.choice(ACTIONS), rng.choice(files(run))
        action(rng, path, run, stopped(chapter, 5))
        what = f"{action.__name__} {path.relative_to(run)}"
        status = wait(launch(f"{chapter.split()[0]} --resume {run}", folder / "out"))
        text = said(folder)
        if (folder / "runs" / "precious").read_bytes() != PRECIOUS:
            return action.__name__, f"{what}: wrote through a link"
        if "Traceback" in text or status not in (0, 1, 2):
            return action.__name__, f"{what}: status {status}: {text[-300:]}"
        if status:
            last = text.splitlines()[-1]
            return f"{action.__name__}, refused", "" if last.startswith("error: ") else f"{what}: {text[-300:]}"
        if "is missing: the run continues without" in text:
            return f"{action.__name__}, continued with a notice", ""
        wrong = "; ".join(differences(run, finished(chapter).folder)[:3])
        return f"{action.__name__}, equal", f"{what}: {wrong}" if wrong else ""
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(cases: int, seed: int, first: int = 0) -> int:
    """Runs the campaign and returns the number of findings."""
    return campaign(judge, cases, seed, first)
