"""Short training runs of the chapters, each in a forked process, and what differs between two of their folders."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from experiments.__main__ import main

__all__ = ["CHAPTERS", "Finished", "campaign", "differences", "finished", "launch", "run_of", "said", "wait"]

# The shortest run of each chapter that saves several checkpoints. Not of claims, some of which are about times.
CHAPTERS = {
    "mnist": "--model cnn --data sample --max-steps 7 --batch-size 8 --save-every 2 --every 3",
    "mnist twin": "--model mlp --data sample --max-steps 7 --batch-size 8 --save-every 3 --every 3 --backend twin",
    "activations": "--examples 64 --max-steps 3 --depth 3 --width 8 --save-every 2",
    "backprop": "--widest 4 --epochs 20",
    "gan": "--data sample --channels 2 --batch-size 16 --max-steps 4 --eval-every 2 --save-every 3",
    "history": "--data sample --digits 60",
    "losses": "--examples 64 --max-steps 4 --save-every 3",
    "regularization": "--data sample --examples 64 --max-steps 4 --hidden 8 --save-every 3",
    "sequences": "--length 6 --examples 60 --hidden 6 --batch-size 20 --max-steps 4 --save-every 3",
    "sgd": "--examples 64 --max-steps 4 --save-every 3",
}
SECONDS = 300  # of computing for one run, and ten times as many on a machine with other jobs
EVENTS = {"open", "os.rename", "os.remove", "os.link", "os.mkdir"}
TIMES = ("seconds", "_ns", "cost", "time")  # in the names of what differs between equal runs


class Finished(NamedTuple):
    """An undisturbed run: its folder, how long it took, and how many file events it made in its folder."""

    folder: Path
    seconds: float
    events: int


def launch(words: str, output: Path, before: Callable[[], Any] = lambda: None) -> int:
    """Runs ``python -m experiments`` in a forked process, which first calls ``before``; returns its number."""
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1), os.dup2(file, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")  # pytest has replaced them
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.alarm(10 * SECONDS)
        torch.set_num_threads(1)
        done = before()
        status = main(words.split())
        if done is not None:
            done()
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(Exception):
        sys.stdout.flush(), sys.stderr.flush()
    os._exit(status)


def wait(child: int) -> int:
    """Waits for a process; returns its exit status, or the negative number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def on_file_event(folder: Path, action: Callable[[int], None]) -> None:
    """Calls an action with the number of each file event in a folder, before it happens."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in EVENTS and str(arguments[0]).startswith(str(folder)):
            count += 1
            action(count)

    sys.addaudithook(hook)


@cache
def finished(chapter: str) -> Finished:
    """Runs a chapter undisturbed."""
    folder = Path(tempfile.mkdtemp(prefix="campaign-"))
    notes, latest = folder / "notes.json", [0]

    def before() -> Callable[[], Any]:
        on_file_event(folder / "runs", lambda number: latest.__setitem__(0, number))
        return lambda: notes.write_text(json.dumps([latest[0], list(sys.modules)]))

    started = time.monotonic()
    status = wait(launch(f"{chapter.split()[0]} {CHAPTERS[chapter]} --runs {folder}/runs", folder / "out", before))
    seconds = time.monotonic() - started
    if status:
        raise RuntimeError(
            f"{chapter}: expected an undisturbed run to finish, got status {status}: {said(folder)}"
        )
    events, modules = json.loads(notes.read_text())
    for module in modules:  # imported once, here, for all later runs
        with contextlib.suppress(Exception):
            importlib.import_module(module)
    run = run_of(folder)
    assert run is not None
    return Finished(run, seconds, events)


def run_of(folder: Path) -> Path | None:
    """Returns the folder of the one run, if it was begun."""
    return next(iter((folder / "runs").glob("*-001")), None)


def said(folder: Path) -> str:
    """Returns what the last run printed as its error."""
    return (folder / "out").read_text(errors="replace")


def differences(run: Path, expected: Path) -> list[str]:
    """Returns what two runs recorded differently, bit by bit, times aside."""
    return [f"{path}: {where}" for path, where in _differences(run, expected)]


def _differences(run: Path, expected: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(expected.rglob("*")):
        name, other = path.relative_to(expected), run / path.relative_to(expected)
        if path.name not in ("metrics.jsonl", "checkpoint.pt", "best.pt", "summary.json"):
            continue
        if not other.is_file():
            yield name, "missing"
        elif where := _unequal(_content(other), _content(path)):
            yield name, where


def _content(path: Path) -> Any:
    if path.suffix == ".pt":
        return torch.load(path, weights_only=True)
    text = path.read_text(errors="replace")
    try:
        return [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)
    except json.JSONDecodeError:
        return text


def _unequal(a: Any, b: Any, where: str = "") -> str:
    """Returns where two contents differ; empty if they are equal bit by bit."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        parts: Any = [(f"{where}.{key}", a[key], b[key]) for key in a if not any(t in str(key) for t in TIMES)]
    elif isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        parts = [(f"{where}[{i}]", x, y) for i, (x, y) in enumerate(zip(a, b, strict=True))]
    else:
        same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b or a != a and b != b
        return "" if same or where == ".settings.runs" else f"{where} is {str(a)[:50]} instead of {str(b)[:50]}"
    return next(filter(None, (_unequal(x, y, place) for place, x, y in parts)), "")


def campaign(judge: Callable[[int, int], tuple[str, str]], cases: int, seed: int, first: int) -> int:
    """Judges cases in turn, prints each finding and the figures, and returns the number of findings."""
    counts: Counter[str] = Counter()
    found = 0
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C prints the figures so far
        for number in range(first, first + cases):
            kind, wrong = judge(seed, number)
            counts[kind] += 1
            if wrong:
                found += 1
                print(f"{list(CHAPTERS)[number % len(CHAPTERS)]}, {kind}: {wrong}")
                print(f"    from {judge.__module__} import judge; print(judge({seed}, {number}))", flush=True)
    for kind, count in sorted(counts.items()):
        print(f"{count:7d} {kind}")
    print(f"{found} findings in {counts.total()} runs from seed {seed}")
    return found
