"""Short training runs of the chapters, in processes that may kill themselves, and what differs between their folders."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

from experiments.__main__ import main

__all__ = ["CHAPTERS", "launch", "wait"]

# The shortest run of each chapter that saves more than one checkpoint. Claims are not here: some are about times.
CHAPTERS = {
    "mnist": "--model cnn --data sample --max-steps 7 --batch-size 8 --save-every 2 --every 3",
    "mnist twin": "--model mlp --data sample --max-steps 7 --batch-size 8 --save-every 3 --every 3 --backend twin",
    "activations": "--examples 64 --max-steps 3 --depth 3 --width 8 --save-every 2",
    "backprop": "--widest 4 --epochs 20 --save-every 9",
    "gan": "--data sample --channels 2 --batch-size 16 --max-steps 4 --eval-every 2 --save-every 3",
    "history": "--data sample --digits 60 --save-every 5",
    "losses": "--examples 64 --max-steps 4 --save-every 3",
    "regularization": "--data sample --examples 64 --max-steps 4 --hidden 8 --save-every 3",
    "sequences": "--length 6 --examples 60 --hidden 6 --batch-size 20 --max-steps 4 --save-every 3",
    "sgd": "--examples 64 --max-steps 4 --save-every 3",
}
SECONDS = 300  # for one run
TIMES = ("seconds", "time")


def launch(words: str, output: Path, before: Callable[[], None] = lambda: None) -> int:
    """Runs ``python -m experiments`` in a forked process, which first calls ``before``; returns its number."""
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1), os.dup2(file, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # pytest replaces them
        signal.alarm(SECONDS)
        torch.set_num_threads(1)
        before()
        status = main(words.split())
        sys.stdout.flush(), sys.stderr.flush()
    except BaseException:
        traceback.print_exc(file=sys.stderr)
        sys.stderr.flush()
    os._exit(status)


def wait(child: int) -> int:
    """Waits for a process; returns its exit status, or the negative number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
