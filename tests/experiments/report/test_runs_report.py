"""Tests of ``python -m experiments report``."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from experiment_runs import rows
from PIL import Image

from experiments.__main__ import main
from experiments.report import MOST_METRICS
from experiments.report.networks import read_runs
from experiments.run import Run
from experiments.settings import Settings
from experiments.training import Task, train

SETTINGS = Settings(epochs=3, batch_size=8, lr=0.1, every=3, device="cpu", preset=None)


def classification():
    inputs = torch.randn(24, 3, generator=torch.Generator().manual_seed(1))
    data = inputs, (inputs[:, 0] > 0).long()
    return Task(data, data, criterion=lambda nn: nn.CrossEntropyLoss())


def linear(backend):
    return backend.nn.Linear(3, 2)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two parts, and a run of twins."""
    settings = replace(SETTINGS, runs=tmp_path_factory.mktemp("runs"))
    parts = Run.create(settings, "rates")
    for name, lr in {"slow": 0.01, "fast": 0.5}.items():
        train(parts.part(name, speed=2), linear, classification(), replace(settings, lr=lr))
    twins = replace(settings, backend="twin")
    twin = Run.create(twins, "twins")
    train(twin, linear, classification(), twins, at_evaluation=lambda state: {"weight": 3.0})
    return parts.folder, twin.folder


def table(path):
    """Returns the cells of a Markdown table by network and heading."""
    lines = [line.strip("| ").split(" | ") for line in path.read_text().splitlines() if line.startswith("|")]
    return {cells[0]: dict(zip(lines[0], cells, strict=True)) for cells in lines[2:]}


def test_parts_are_compared_with_their_different_settings(finished, here, capsys):
    parts, _ = finished
    assert main(["report", str(parts)]) == 0
    found = table(here / "report" / "report.md")
    assert list(found) == ["slow", "fast"]
    for name, lr in (("slow", "0.01"), ("fast", "0.5")):
        last = rows(parts / name, split="test")[-1]
        assert found[name]["lr"] == lr
        assert found[name]["test loss"] == f"{last['loss']:.4f}"
        assert found[name]["test accuracy"] == f"{last['accuracy']:.2%}"
        assert found[name]["steps"] == "9"
        assert float(found[name]["ms a step"]) > 0
    text = (here / "report" / "report.md").read_text()
    assert "![loss over training steps](loss.png)" in text
    assert "momentum 0.9" in text
    assert "speed 2" in text
    assert capsys.readouterr().out.endswith("report: report/report.md\n")


def test_plots_show_each_network(finished, here):
    parts, _ = finished
    assert main(["report", str(parts), "--out", "both"]) == 0
    for figure in ("loss", "accuracy", "lr"):
        image = Image.open(here / "both" / f"{figure}.png").convert("RGB")
        colors = {color for _, color in image.getcolors(1 << 20)}
        assert {(31, 119, 180), (255, 127, 14)} <= colors or figure == "lr"  # the first two of tab10
        assert image.size == (880, 495)


def test_runs_twins_and_custom_metrics_are_compared(finished, here):
    parts, twin = finished
    assert main(["report", str(parts), str(twin)]) == 0
    found = table(here / "report" / "report.md")
    assert list(found) == [
        "rates-scratch-001 slow custom",
        "rates-scratch-001 fast custom",
        "twins-twin-001 custom",
        "twins-twin-001 builtin",
    ]
    assert [cells["test weight"] for cells in found.values()] == ["–", "–", "3.0000", "3.0000"]
    assert (here / "report" / "weight.png").is_file()


def test_runs_of_the_same_name_are_distinguished_by_their_paths(finished, tmp_path):
    parts, _ = finished
    copy = shutil.copytree(parts, tmp_path / "copy" / parts.name)
    names = [each.name for each in read_runs([parts, copy])[0]]
    assert names == [f"{parts} slow", f"{parts} fast", f"{copy} slow", f"{copy} fast"]


def test_an_unfinished_run_is_reported(finished, here):
    parts, _ = finished
    run = shutil.copytree(parts, here / "run")
    metrics = run / "fast" / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("".join(lines[:5]) + lines[5][:20])
    (run / "fast" / "summary.json").unlink()
    assert main(["report", "run"]) == 0
    fast = table(here / "report" / "report.md")["fast"]
    assert (fast["steps"], fast["ms a step"]) == ("4, not ended", "–")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ("report", 2, "runs"),
        ("report nowhere", 2, "expected the folder of a run, got 'nowhere', which does not exist"),
        ("report empty", 2, "expected a run that trains networks, got 'empty', which has no curves"),
        ("report damaged", 1, "metrics.jsonl' is damaged (JSONDecodeError"),
        ("report binary", 1, "metrics.jsonl' is damaged (UnicodeDecodeError"),
        ("report strange", 2, "which has no curves"),
        ("report empty --uot x", 2, "did you mean --out?"),
    ],
)
def test_errors_are_one_line(words, status, message, here, capsys):
    for name in ("empty", "damaged", "binary", "strange"):
        (here / name).mkdir()
        (here / name / "config.json").write_text(json.dumps({"chapter": "mnist"}))
    (here / "damaged" / "metrics.jsonl").write_text("{\n")
    (here / "binary" / "metrics.jsonl").write_bytes(b'{"\xff": 1}\n')
    (here / "strange" / "metrics.jsonl").write_text(
        '{"step": "1", "split": [], "backend": {}, "loss": 1}\n{"a": 1}\n'
    )
    assert main(words.split()) == status
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def write_run(folder, rows, **config):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"chapter": "mnist", **config}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def row(step, split="test", **metrics):
    return {"step": step, "split": split, "backend": "custom", "loss": 1 / step, **metrics}


def test_names_from_files_never_become_paths_or_markup(here, capsys):
    names = [
        "../../up",
        str(here / "absolute"),
        "a/b",
        "a b",
        "a|b",
        "$\\frac$",
        "$_{$$x",
        "<b>",
        "![x](y)",
        "\0\x1b[2J",
        "..",
        "",
        "é" * 400,
    ]
    metrics = {name: 0.5 for name in names}
    write_run(here / "a" / "$_{x", [row(1, **metrics), row(2, **metrics)], **{"<i>": "|`\n"})
    (here / "a" / "out").mkdir()
    (here / "precious").write_text("precious")
    (here / "a" / "out" / "loss.png").symlink_to(here / "precious")
    before = set(here.rglob("*"))
    assert main(["report", "a/$_{x", "--out", "a/out"]) == 0
    assert {path.parent for path in set(here.rglob("*")) - before} == {here / "a" / "out"}
    assert (here / "precious").read_text() == "precious"
    found = table(here / "a" / "out" / "report.md")
    assert len(found) == 1
    assert all(c.isprintable() or c == "\n" for c in capsys.readouterr().out)
    assert "<b>" not in (here / "a" / "out" / "report.md").read_text()


def test_any_mix_of_runs_has_a_narrow_table_and_few_curves_in_a_plot(here, capsys):
    for number in range(25):
        own = {f"metric_{number}": 1.0}
        settings = {"lr": number, "seed": 0, f"setting_{number}": number}
        write_run(here / "runs" / f"run-{number:02}", [row(1, **own), row(2, **own)], **settings)
    write_run(here / "runs" / "claims" / "claims-001", [{"claim": "none", "verdict": "true"}])
    (here / "runs" / "log").write_text("")
    (here / "runs" / "old").mkdir()
    assert main(["report", *map(str, sorted((here / "runs").iterdir()))]) == 0
    text = (here / "report" / "report.md").read_text()
    found = table(here / "report" / "report.md")
    assert len(found) == 25
    (columns,) = {tuple(cells) for cells in found.values()}
    assert len(columns) == 12
    assert columns[:2] == ("network", "lr")
    assert {"test loss", "best", "steps", "ms a step"} <= set(columns)
    assert "Different too: setting_" in text
    plots = {path.name for path in (here / "report").glob("*.png")}
    assert {"loss_1.png", "loss_2.png", "loss_3.png"} <= plots
    assert len(plots) <= 3 + MOST_METRICS
    out = capsys.readouterr().out
    assert out.count("left out: ") == 3
    assert main(["report", "runs", "--out", "same"]) == 0
    assert table(here / "same" / "report.md") == found
