"""Helpers for the tests of experiments: running one, and reading the files of its run."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import torch

from experiments.__main__ import main
from experiments.data.sample import read_sample

ROOT = Path(__file__).parents[2]


def write_mnist(root, *, train, test):
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    sample = read_sample()
    for split, file, count in (("train", "train", train), ("test", "t10k", test)):
        images, labels = (sample[f"{split}_{kind}"][:count].numpy() for kind in ("images", "labels"))
        (raw / f"{file}-images-idx3-ubyte").write_bytes(
            struct.pack(">4I", 0x803, count, 28, 28) + images.tobytes()
        )
        (raw / f"{file}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, count) + labels.tobytes())


def mnist(*words):
    """Runs ``python -m experiments mnist …`` in this process and returns the exit status."""
    return main(["mnist", *map(str, words)])


def in_a_process(script, *words, cwd, **options):
    """Runs a script in a new process, with warnings as errors; ``words`` are its arguments."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script, "mnist", *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


def rows(run, **wanted):
    """Returns the lines of ``metrics.jsonl`` with these values."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if wanted.items() <= line.items()]


def state(run):
    return torch.load(run / "checkpoint.pt", weights_only=True)


def assert_same_state(found, expected):
    """Checks that two checkpoints are bit for bit equal, except for times."""
    for key in ("step", "evaluated", "results", "best", "random", "largest_drift"):
        torch.testing.assert_close(found[key], expected[key], rtol=0, atol=0)
    assert found["learners"].keys() == expected["learners"].keys()
    for name, learner in expected["learners"].items():
        for part in ("model", "optimizer", "schedule"):
            torch.testing.assert_close(found["learners"][name][part], learner[part], rtol=0, atol=0)
