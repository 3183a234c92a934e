"""What the tests of chapters share: running one in both backends, and what must hold of every run."""

from __future__ import annotations

import json

import pytest
from experiment_runs import rows
from tensorboard.backend.event_processing.event_accumulator import (
    STORE_EVERYTHING_SIZE_GUIDANCE,
    EventAccumulator,
)

from experiments.__main__ import main


def run_both(name, runs, *flags):
    """The folders of a run on scratchnet and of the same on torch.nn."""
    folders = []
    for backend in ("scratch", "builtin"):
        words = [name, "--runs", runs, "--backend", backend, *flags]
        assert main([*map(str, words)]) == 0
        folders.append(runs / f"{name}-{backend}-001")
    return folders


def summary(run):
    return json.loads((run / "summary.json").read_text())


def assert_whole(run, figures, pages, parts):
    """The files of a run are there, of each part too, and the story in TensorBoard is what the folder holds."""
    config = json.loads((run / "config.json").read_text())
    assert run.name.startswith(config["chapter"])
    events = EventAccumulator(str(run), size_guidance=STORE_EVERYTHING_SIZE_GUIDANCE).Reload()
    assert {f"0_story/{name}" for name in figures} == set(events.Tags()["images"])
    pages = {*pages, "what_to_look_for", "conclusion"}
    assert {f"0_story/{name}/text_summary" for name in pages} == set(events.Tags()["tensors"])
    for name in figures:
        assert (run / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    for name in pages:
        assert (run / f"{name}.md").read_text().strip()
    assert "| `seed` | 0 |" in (run / "what_to_look_for.md").read_text()
    assert {path.name for path in run.iterdir() if path.is_dir()} == set(parts)
    for part in parts:
        for file in ("checkpoint.pt", "metrics.jsonl", "summary.json"):
            assert (run / part / file).is_file()
        found = EventAccumulator(str(run / part), size_guidance=STORE_EVERYTHING_SIZE_GUIDANCE).Reload()
        assert {"loss/train", "loss/test"} <= set(found.Tags()["scalars"])


# Losses in float64 differ by 7e-15 where one jumps about, sgd's at rate 1, and by 1e-15 elsewhere.
SAME = 1e-12


def assert_same_curves(scratch, builtin, parts, rel=SAME):
    """The losses of the two backends are the same, at every step of training and at every evaluation."""
    for part in parts:
        for split in ("train", "test"):
            ours, theirs = (rows(run / part, split=split) for run in (scratch, builtin))
            assert len(ours) == len(theirs) > 0
            for one, other in zip(ours, theirs, strict=True):
                assert one["step"] == other["step"]
                assert one["loss"] == pytest.approx(other["loss"], rel=rel, abs=rel), (part, one["step"])
