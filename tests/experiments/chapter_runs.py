"""Helpers for the tests of chapters: running one with both backends, and checks of every run."""

from __future__ import annotations

import json

import pytest
from experiment_runs import rows
from tensorboard.backend.event_processing.event_accumulator import (
    STORE_EVERYTHING_SIZE_GUIDANCE,
    EventAccumulator,
)

from experiments.__main__ import main
from experiments.figures import WIDTH
from experiments.report_page import DPI


def run_both(name, runs, *flags):
    """Runs a chapter with scratchnet and with torch.nn; returns both folders."""
    folders = []
    for backend in ("scratch", "builtin"):
        words = [name, "--runs", runs, "--backend", backend, *flags]
        assert main([*map(str, words)]) == 0
        folders.append(runs / f"{name}-{backend}-001")
    return folders


def summary(run):
    return json.loads((run / "summary.json").read_text())


# The groups of tags of all chapters, of which "0_story", accuracy and loss come first whichever runs are shown.
GROUPS = {
    *("0_story", "accuracy", "loss", "metrics", "nonfinite", "optimizer", "outputs_mean", "outputs_std"),
    *("over_layers", "per_layer_gradient_norm", "per_layer_update_ratio_log10", "pictures"),
    *("units_dead", "units_saturated", "weights", "weights_gradient"),
}


def assert_cards(events):
    """Checks that TensorBoard shows known groups of tags, each step once, and figures that fit on a card."""
    tags = events.Tags()
    assert {tag.split("/")[0] for kind in ("scalars", "images", "histograms") for tag in tags[kind]} <= GROUPS
    for tag in tags["scalars"]:
        steps = [point.step for point in events.Scalars(tag)]
        assert len(steps) == len(set(steps)), tag
    for tag in tags["images"]:
        assert events.Images(tag)[0].width <= WIDTH * DPI, tag


def assert_complete(run, figures, pages, parts):
    """Checks the files of a run and its parts, and the report page in TensorBoard."""
    config = json.loads((run / "config.json").read_text())
    assert run.name.startswith(config["chapter"])
    events = EventAccumulator(str(run), size_guidance=STORE_EVERYTHING_SIZE_GUIDANCE).Reload()
    assert {f"0_story/{name}" for name in figures} == set(events.Tags()["images"])
    assert_cards(events)
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
        assert_cards(found)


# Losses in float64 differ by 7e-15 in an unstable training, sgd's with learning rate 1, and by 1e-15 elsewhere.
SAME = 1e-12


def assert_same_curves(scratch, builtin, parts, rel=SAME):
    """Checks that both backends have the same losses at every training step and evaluation."""
    for part in parts:
        for split in ("train", "test"):
            ours, theirs = (rows(run / part, split=split) for run in (scratch, builtin))
            assert len(ours) == len(theirs) > 0
            for one, other in zip(ours, theirs, strict=True):
                assert one["step"] == other["step"]
                assert one["loss"] == pytest.approx(other["loss"], rel=rel, abs=rel), (part, one["step"])
