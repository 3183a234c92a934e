"""Runs each chapter without flags, and checks what TensorBoard shows of it."""

from __future__ import annotations

import pytest
from browser import CHROMIUM, Browser
from chapter_runs import summary
from dashboards import tensorboard

from experiments.__main__ import main

# An image on the first screen, and a part with curves.
SHOWN = {
    "history": ("0_story/1_gates", "digits_rbf"),
    "activations": ("0_story/1_functions", "learned_elu"),
    "losses": ("0_story/1_by_margin", "wrong_start_squared_error"),
    "backprop": ("0_story/3_cost", "xor"),
    "sgd": ("0_story/1_path_banana", "nesterov"),
    "regularization": ("0_story/1_gap", "early_stopping"),
    "sequences": ("0_story/1_gradient_before", "gru"),
    "gan": ("0_story/1_film", "duel"),
    "attention": ("0_story/1_copying", "copy_5_lstm"),
    "claims": ("0_story/gradients_in_depth", "."),
}


@pytest.fixture(scope="module", params=SHOWN)
def chapter_run(request, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    assert main([request.param, "--runs", str(runs)]) == 0
    (run,) = runs.iterdir()
    return request.param, run


@pytest.mark.slow
def test_chapters_finish(chapter_run):
    _, run = chapter_run
    assert summary(run)
    assert (run / "conclusion.md").read_text().startswith("- ")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed here")
def test_first_screen_shows_the_report_page(chapter_run, tmp_path):
    name, run = chapter_run
    card, part = SHOWN[name]
    with tensorboard(run) as board, Browser(tmp_path) as browser:
        board.wait_for(part)
        assert card in board.get("images", "tags")["."]
        browser.open(f"{board.url}/#timeseries")
        browser.wait_for("0_story", card, part)
        browser.open(f"{board.url}/#text")
        browser.wait_for("0_story/what_to_look_for", "0_story/conclusion")
        assert browser.errors == []
