"""The dashboard of a run in TensorBoard, through HTTP and in a browser."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from browser import CHROMIUM, Browser
from dashboards import tensorboard
from experiment_runs import mnist, rows
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

from experiments.run import Run
from experiments.settings import Settings
from experiments.training import Task, train
from experiments.training.dashboard import CHARTS, HEALTHY, layout, show_answers
from experiments.training.evaluation import Evaluation

SETTINGS = Settings(epochs=2, batch_size=20, lr=0.1, every=2, device="cpu", preset=None, projector=True)


def stripes():
    """Images with one bright row or column: two classes."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(60, 8, 8, generator=generator)
    targets = torch.arange(60) % 2
    images[targets == 0, 3], images[targets == 1, :, 3] = 1, 1
    return Task(
        (images, targets), (images, targets), prepare=lambda x: x.unsqueeze(1), picture=lambda x: x,
        classes=("row", "column"),
    )  # fmt: skip


def network(backend):
    layer = backend.nn
    return layer.Sequential(
        layer.Conv2d(1, 4, 3), layer.ReLU(), layer.Flatten(), layer.Linear(144, 2), layer.LogSoftmax(dim=1)
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with two parts."""
    settings = replace(SETTINGS, runs=tmp_path_factory.mktemp("runs"))
    run = Run.create(settings, "stripes")
    for name, lr in {"slow": 0.01, "fast": 0.5}.items():
        options = {"description": f"It learns {name}ly.", "at_evaluation": lambda state: {"weight": 3.0}}
        train(run.part(name), network, stripes(), replace(settings, lr=lr), **options)
    return run.folder


@pytest.fixture(scope="module")
def board(run):
    with tensorboard(run) as board:
        board.wait_for("slow")
        board.wait_for("fast")
        yield board


@pytest.mark.slow
def test_http_lists_the_curves_of_each_part(board):
    found = board.get("scalars", "tags")
    assert set(found) == {"slow", "fast"}
    for tags in found.values():
        assert {"loss/train", "loss/test", "accuracy/train", "accuracy/test", "metrics/weight/test"} <= set(tags)
        assert {"per_layer_gradient_norm/0", "per_layer_update_ratio_log10/3", "units_dead/1"} <= set(tags)
    points = board.get("scalars", "scalars", run="slow", tag="loss/train")
    assert [step for _, step, _ in points] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_http_returns_the_layout_with_curves_in_its_charts(board):
    found = board.get("custom_scalars", "layout")
    titles = [chart["title"] for each in found["category"] for chart in each["chart"]]
    expected = [title for category in ("does it learn", "is it in good health") for title in CHARTS[category]]
    expected.remove("share of saturated outputs: largest and smallest of the layers")
    assert titles == [*expected, "weight"]
    for each in found["category"]:
        for chart in each["chart"]:
            for tag in chart["multiline"]["tag"]:
                answer = board.get("custom_scalars", "scalars", run="fast", tag=tag)
                assert answer["regex_valid"]
                assert 1 <= len(answer["tag_to_events"]) <= 2


@pytest.mark.slow
def test_http_returns_the_page_images_and_curves(board):
    (page,) = board.get("text", "text", run="fast", tag="about this run/text_summary")
    assert "<h1>stripes fast</h1>" in page["text"]
    assert "It learns fastly." in page["text"]
    assert "<td>lr</td>\n<td>0.5</td>" in page["text"]
    images = board.get("images", "tags")["slow"]
    assert {"pictures/confusion/row_true_column_predicted", "pictures/filters/0", "pictures/mistakes"} <= set(
        images
    )
    assert set(board.get("pr_curves", "tags")["fast"]) == {
        "precision and recall/row",
        "precision and recall/column",
    }
    projected = board.get("projector", "info", run="fast")["embeddings"]
    assert [(each["tensorName"], each["tensorShape"]) for each in projected] == [
        ("last hidden layer:00006", [60, 144])
    ]
    table = board.post("hparams", "experiment", {"experimentName": ""})
    names = [each["name"] for each in table["hparamInfos"]]
    assert {"lr", "part"} == set(names[:2])
    assert [each.get("differs", False) for each in table["hparamInfos"]] == [True] * 2 + [False] * (len(names) - 2)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed here")
def test_a_browser_shows_the_cards_without_errors(board, tmp_path):
    with Browser(tmp_path) as browser:
        browser.open(f"{board.url}/#timeseries")
        browser.wait_for("accuracy/train", "loss/train")
        browser.open(f"{board.url}/#custom_scalars")
        browser.wait_for("does it learn", "is it in good health", "largest and smallest of the layers")
        browser.open(f"{board.url}/#text")
        browser.wait_for("It learns slowly.", "What to look for")
        browser.open(f"{board.url}/#images")
        browser.wait_for("pictures/mistakes")
        assert browser.errors == []


def test_mistakes_are_sorted_by_confidence():
    """Three of five examples are classified wrong."""
    written = []
    writer = SimpleNamespace(
        add_pr_curve=lambda tag, labels, likely, step: written.append((tag, labels.tolist(), likely.tolist())),
        add_figure=lambda tag, figure, step: written.append((tag, figure)),
    )
    task = replace(stripes(), test=(torch.rand(5, 8, 8), torch.tensor([0, 0, 0, 1, 1])))
    confidence = torch.tensor([0.9, 0.4, 0.1, 0.9, 0.2])
    evaluation = Evaluation()
    outputs = torch.stack([confidence, 1 - confidence], dim=1).log()
    evaluation.add(1.0, outputs.argmax(1) == task.test[1], outputs, task.test[1])
    show_answers(writer, task, evaluation, step=3)
    (row, of_row, likely), (column, of_column, _), (tag, figure) = written
    assert (row, column) == ("precision and recall/row", "precision and recall/column")
    assert (of_row, of_column) == ([True] * 3 + [False] * 2, [False] * 3 + [True] * 2)
    assert likely == pytest.approx(confidence.tolist(), rel=1e-6)
    assert tag == "pictures/mistakes"
    (axes,) = figure.axes
    assert axes.get_title() == "3 mistakes of 5, most confident first:\ntrue → predicted, probability"
    labels = [text.get_text() for text in axes.texts]
    assert sorted(labels[:2]) == ["column → row  0.90", "row → column  0.90"]
    assert labels[2] == "row → column  0.60"


def test_charts_have_curves_and_few_lines_for_a_network(run):
    for part in ("slow", "fast"):
        events = EventAccumulator(str(run / part)).Reload()
        content = events.Tensors("custom_scalars__config__")[-1].tensor_proto.string_val[0]
        tags = events.Tags()["scalars"]
        for category in layout_pb2.Layout.FromString(content).category:
            for chart in category.chart:
                (pattern,) = chart.multiline.tag
                assert 1 <= sum(bool(re.match(pattern, tag)) for tag in tags) <= 2, chart.title
        for tag in tags:
            steps = [point.step for point in events.Scalars(tag)]
            assert len(steps) == len(set(steps))


def test_a_network_that_learns_is_healthy(here, monkeypatch):
    monkeypatch.setattr("experiments.chapters.mnist.check_gradients", lambda digits, config: None)
    assert mnist("--model", "mlp", "--data", "sample", "--max-steps", 200, "--every", 10) == 0
    run = here / "runs" / "mnist" / "mnist-mlp-scratch-001"
    assert rows(run, split="test")[-1]["accuracy"] > 0.85
    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    checked = 0
    for group, (low, high) in HEALTHY.items():
        for tag in events.Tags()["scalars"]:
            if tag.startswith(f"over_layers/{group}/"):
                inside = [low <= point.value <= high for point in events.Scalars(tag)]
                assert sum(inside) >= 0.8 * len(inside), tag
                checked += 1
    assert checked == 4


def test_networks_of_other_layers_have_the_same_charts():
    one, other = (layout([f"units_dead/{name}", "over_layers/units_dead/largest"]) for name in ("relu1", "leaky"))
    assert one == other
    assert [list(charts) for charts in layout(["loss/test"]).values()] == [["loss"]]
    assert layout([]) == {}


def test_a_regression_has_no_answers_to_show(tmp_path):
    evaluation = Evaluation()
    evaluation.add(1.0, None, torch.rand(5, 1), torch.rand(5, 1))
    show_answers(SimpleNamespace(), stripes(), evaluation, step=1)


def test_part_json_has_the_settings_of_the_part(run):
    assert json.loads((run / "fast" / "part.json").read_text())["lr"] == 0.5
