"""Runs of every chapter that are killed, and continued: they must end as an undisturbed run, bit by bit.

A kill is a SIGKILL before one of the run's file events, at a random time, or in the middle of writing a file. In some
cases a second process tries to continue the run meanwhile, and must be refused in one line.
"""

from __future__ import annotations

import os
import pathlib
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .training import CHAPTERS, campaign, differences, finished, launch, on_file_event, run_of, said, wait

KINDS = ("event", "time", "write", "two processes")
REFUSALS = ("which has no config.json", "has no checkpoint: it was stopped before it saved one")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def while_writing(at: int) -> None:
    """Dies in the middle of the at-th file that is replaced."""
    count, opened = 0, pathlib.Path.open

    def opening(path: Path, *arguments: Any, **options: Any) -> Any:
        nonlocal count
        file = opened(path, *arguments, **options)
        if path.suffix == ".partial":
            count += 1
            if count == at:
                return HalfWritten(file)
        return file

    # For the rest of this process, which dies.
    pathlib.Path.open = opening  # type: ignore[method-assign, assignment]


class HalfWritten:
    """A file of which half is written when the process dies."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __enter__(self) -> HalfWritten:
        return self

    def __exit__(self, *error: Any) -> None:
        self.file.close()

    def write(self, content: bytes) -> None:
        self.file.write(content[: len(content) // 2])
        self.file.flush()
        die()


def at_event(folder: Path, at: int) -> Callable[[], None]:
    return lambda: on_file_event(folder, lambda number: die() if number == at else None)


def judge(seed: int, number: int) -> tuple[str, str]:
    """Kills and continues one run; returns what became of it, and what is wrong with it, if anything is."""
    rng = random.Random(f"{seed}/{number}")
    chapter, kind = list(CHAPTERS)[number % len(CHAPTERS)], rng.choice(KINDS)
    expected = finished(chapter)
    folder = Path(tempfile.mkdtemp(prefix="campaign-"))
    try:
        return _judge(rng, folder, chapter, kind, expected)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _judge(rng: random.Random, folder: Path, chapter: str, kind: str, expected: Any) -> tuple[str, str]:
    name = chapter.split()[0]
    words = f"{name} {CHAPTERS[chapter]} --runs {folder}/runs"
    at, after = rng.randint(1, expected.events), rng.uniform(0.05, 1) * expected.seconds
    before: dict[str, Callable[[], None]] = {
        "event": at_event(folder / "runs", at),
        "write": lambda: while_writing(rng.randint(1, 12)),
    }
    child = launch(words, folder / "out", before.get(kind, lambda: None))
    second = ""
    if kind in ("time", "two processes"):
        time.sleep(after)
        run = run_of(folder)
        if kind == "two processes" and run:
            other = wait(launch(f"{name} --resume {run}", folder / "second"))
            second = (folder / "second").read_text()
            if "Traceback" in second or other not in (0, 1, 2) or (other and len(second.splitlines()) != 1):
                return kind, f"the second process: {second[-300:]}"
        os.kill(child, signal.SIGKILL)
    status = wait(child)
    if status not in (0, -signal.SIGKILL):
        return kind, f"status {status}: {said(folder)[-300:]}"
    run = run_of(folder)
    if run is None:
        return f"{kind}, before the run", ""
    status = wait(launch(f"{name} --resume {run}", folder / "out"))
    text = said(folder)
    if "Traceback" in text or status not in (0, 1, 2):
        return kind, f"continued with status {status}: {text[-300:]}"
    if status:
        first = any(refusal in text for refusal in REFUSALS) and not list(run.rglob("checkpoint.pt"))
        return (f"{kind}, before a checkpoint", "") if first else (kind, f"refused: {text[-300:]}")
    return kind, "; ".join(differences(run, expected.folder)[:3])


def run(cases: int, seed: int, first: int = 0) -> int:
    """Runs the campaign and returns the number of findings."""
    return campaign(judge, cases, seed, first)
