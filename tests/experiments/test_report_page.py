"""Report pages write to TensorBoard and to the folder of the run."""

from __future__ import annotations

from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import (
    STORE_EVERYTHING_SIZE_GUIDANCE,
    EventAccumulator,
)

from experiments.report_page import ReportPage
from experiments.run import Run
from experiments.settings import CommonSettings


def opened(folder):
    return EventAccumulator(str(folder), size_guidance=STORE_EVERYTHING_SIZE_GUIDANCE).Reload()


def test_figures_tables_and_conclusions(tmp_path, capsys):
    run = Run.create(CommonSettings(runs=tmp_path, seed=7), "history")
    with ReportPage(run, "\nLook here.\n") as page:
        figure = Figure(figsize=(2, 1))
        figure.subplots().plot([1, 2])
        page.figure("curve", figure)
        page.table("numbers", "some numbers", ("name", "number"), [("one", "1"), ("two", "2")])
        page.conclude(["It was so."])
    assert (run.folder / "what_to_look_for.md").read_text().startswith("Look here.\n\n| setting | value |\n")
    assert "| `seed` | 7 |" in (run.folder / "what_to_look_for.md").read_text()
    table = "**some numbers**\n\n| name | number |\n|---|---|\n| one | 1 |\n| two | 2 |"
    assert (run.folder / "numbers.md").read_text() == table + "\n"
    assert (run.folder / "conclusion.md").read_text() == "- It was so.\n"
    out = capsys.readouterr().out
    assert "some numbers" in out
    assert out.endswith("- It was so.\n")
    found = opened(run.folder)
    (picture,) = found.Images("0_story/curve")
    assert (picture.width, picture.height) == (260, 130)
    assert (run.folder / "curve.png").read_bytes()[:4] == b"\x89PNG"
    text = found.Tensors("0_story/numbers/text_summary")[0].tensor_proto.string_val[0].decode()
    assert text == table


def test_a_reopened_page_shows_its_figures_once(tmp_path):
    run = Run.create(CommonSettings(runs=tmp_path), "history")
    for part in (run, Run.reopen(run.folder)):
        with ReportPage(part, "Look here.") as page:
            page.figure("curve", Figure(figsize=(2, 1)))
    assert len(opened(run.folder).Images("0_story/curve")) == 1
