"""Tests of ``python -m experiments mnist``."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import pytest
import torch
from experiment_runs import mnist, rows, state
from tensorboard.backend.event_processing.event_accumulator import (
    STORE_EVERYTHING_SIZE_GUIDANCE,
    EventAccumulator,
)

from experiments import models
from experiments.backend import BACKENDS, BUILTIN, CUSTOM
from experiments.chapters import mnist as chapter
from experiments.commandline import parse
from experiments.data.digits import load_digits, normalize

MLP = ["--model", "mlp", "--epochs", 2, "--batch-size", 16, "--every", 5]


def events(folder):
    return EventAccumulator(str(folder), size_guidance=STORE_EVERYTHING_SIZE_GUIDANCE).Reload()


def summary(run):
    return json.loads((run / "summary.json").read_text())


@pytest.fixture(scope="module")
def twin(tiny, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    assert mnist(*MLP, "--data", tiny, "--runs", runs, "--backend", "twin") == 0
    return runs / "mnist-mlp-twin-001"


def test_a_run_writes_its_folder_and_prints_the_path(tiny, here, capsys):
    assert mnist(*MLP, "--data", tiny) == 0
    run = here / "runs" / "mnist" / "mnist-mlp-scratch-001"
    config = json.loads((run / "config.json").read_text())
    assert (config["chapter"], config["model"], config["epochs"]) == ("mnist", "mlp", 2)
    assert (config["data"], config["device"]) == (str(tiny), "cuda" if torch.cuda.is_available() else "cpu")
    assert len(rows(run, split="train", backend="custom")) == 12
    result = summary(run)
    test = rows(run, split="test")[-1]
    assert (result["test_loss"], result["test_accuracy"]) == (test["loss"], test["accuracy"])
    assert result["data"] == f"{tiny} (96 training and 40 test digits)"
    assert (result["epochs"], result["steps"], result["backend"]) == (2, 12, "scratch")
    assert 0 < result["networks"]["custom"]["seconds_in_steps"] < result["seconds"]
    out = capsys.readouterr().out
    assert "gradient of fc1.weight" in out
    assert out.endswith(
        "run folder: runs/mnist/mnist-mlp-scratch-001\nview it with: tensorboard --logdir runs/mnist\n"
    )
    assert mnist(*MLP, "--data", tiny) == 0
    assert (here / "runs" / "mnist" / "mnist-mlp-scratch-002" / "summary.json").is_file()


def test_summary_matches_the_saved_weights(tiny, here):
    assert mnist(*MLP, "--data", tiny, "--lr", 0.02) == 0
    run = here / "runs" / "mnist" / "mnist-mlp-scratch-001"
    model = models.mlp(BUILTIN)
    model.load_state_dict(state(run)["learners"]["custom"]["model"])
    digits, _ = load_digits(str(tiny))
    with torch.no_grad():
        right = model(normalize(digits.test_images, torch.float32)).argmax(1) == digits.test_labels
    assert summary(run)["test_accuracy"] == right.double().mean().item() > 0.3


def test_tensorboard_has_scalars_and_histograms(tiny, here):
    assert mnist(*MLP, "--data", tiny) == 0
    found = events(here / "runs" / "mnist" / "mnist-mlp-scratch-001")
    scalars = set(found.Tags()["scalars"])
    assert {"loss/train", "loss/test", "accuracy/train", "accuracy/test", "optimizer/learning_rate"} <= scalars
    assert {"per_layer_gradient_norm/fc1", "per_layer_update_ratio_log10/fc3", "units_dead/relu1"} <= scalars
    assert "weights/fc2.weight" in found.Tags()["histograms"]
    assert [point.step for point in found.Scalars("loss/train")] == list(range(1, 13))


def test_twins_have_equal_tags_and_record_their_drift(twin):
    names = [set(events(twin / name).Tags()["scalars"]) for name in ("custom", "builtin")]
    assert names[0] == names[1]
    assert "loss/train" in names[0]
    both = events(twin)
    assert "custom_scalars__config__" in both.Tags()["tensors"]
    assert [point.step for point in both.Scalars("twin/loss_difference")] == list(range(1, 13))
    for kind in ("gradient", "weight"):
        points = both.Scalars(f"twin_{kind}_difference/fc1.weight")
        assert [point.step for point in points] == [1, 6, 11, 12]
    for tag in ("twin_output/fc1", "twin_gradient/fc1", "twin_output_cosine/relu1", "twin/first_departure"):
        assert [point.step for point in both.Scalars(tag)] == [p.step for p in points]
    assert {point.value for point in both.Scalars("twin/first_departure")} == {-1}
    assert sorted(summary(twin)["networks"]) == ["builtin", "custom"]
    assert summary(twin)["largest_drift"].keys() == {"loss", "gradients", "weights"}


def test_all_backends_start_from_the_same_weights_and_batches(twin, tiny, here):
    for backend in ("scratch", "builtin"):
        assert mnist(*MLP, "--data", tiny, "--backend", backend) == 0
        run = here / "runs" / "mnist" / f"mnist-mlp-{backend}-001"
        name = {"scratch": "custom", "builtin": "builtin"}[backend]
        single, twin_rows = (rows(folder, split="train", backend=name) for folder in (run, twin))
        assert single == twin_rows


@pytest.mark.parametrize(
    ("dtype", "flags"),
    [
        ("float32", ["--model", "mlp"]),
        ("float64", ["--model", "mlp"]),
        ("float32", ["--model", "cnn", "--batch-size", 16]),
        ("float64", ["--model", "cnn", "--batch-size", 16]),
    ],
)
def test_twins_stay_close(dtype, flags, here, monkeypatch):
    monkeypatch.setattr(chapter, "check_gradients", lambda digits, config: None)
    steps = 100 if "mlp" in flags else 20
    flags = [*flags, "--data", "sample", "--dtype", dtype, "--backend", "twin", "--max-steps", steps]
    assert mnist(*flags, "--every", 10, "--save-every", 1000) == 0
    (run,) = (here / "runs" / "mnist").iterdir()
    drift = rows(run, split="twin")
    assert len(drift) == steps
    assert max(row["loss"] for row in drift) < 1e-4
    if dtype == "float64":
        networks = state(run)["learners"]
        for name, weight in networks["builtin"]["model"].items():
            torch.testing.assert_close(networks["custom"]["model"][name], weight, rtol=0, atol=1e-10)
            assert drift[-1]["weights"][name] < 1e-10


class Shifted(torch.nn.ReLU):
    """A wrong ReLU, with its kink at 0.01."""

    def forward(self, input):
        return torch.where(input > 0.01, input, 0.0)


def test_a_wrong_layer_is_rejected_before_training(tiny, here, monkeypatch, capsys):
    wrong = SimpleNamespace(**{**vars(CUSTOM.nn), "ReLU": Shifted})
    monkeypatch.setattr(chapter, "CUSTOM", dataclasses.replace(CUSTOM, nn=wrong))
    assert mnist(*MLP, "--data", tiny) == 1
    out, err = capsys.readouterr()
    assert "gradient of fc1.weight" in out
    assert "differs" in out
    assert err.startswith("error: the hand-written gradients differ from PyTorch's before training has begun")


def test_a_wrong_layer_makes_twins_diverge(tiny, here, monkeypatch):
    monkeypatch.setattr(chapter, "check_gradients", lambda digits, config: None)
    wrong = dataclasses.replace(CUSTOM, nn=SimpleNamespace(**{**vars(CUSTOM.nn), "ReLU": Shifted}))
    monkeypatch.setitem(BACKENDS, "twin", [wrong, BUILTIN])
    assert mnist(*MLP, "--data", tiny, "--backend", "twin") == 0
    assert summary(here / "runs" / "mnist" / "mnist-mlp-twin-001")["largest_drift"]["loss"] > 1e-4


def test_mlp_learns_the_sample(here):
    assert mnist("--model", "mlp", "--data", "sample", "--epochs", 4) == 0
    assert summary(here / "runs" / "mnist" / "mnist-mlp-scratch-001")["test_accuracy"] > 0.94


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", (None, None, None, False)),
        ("--preset quick", ("deep", None, 150, True)),
        ("--preset quick --epochs 2 --model mlp", ("mlp", 2, None, True)),
        ("--preset full", ("deep", 12, None, True)),
        ("--preset full --model mlp --no-augment", ("mlp", 15, None, False)),
    ],
)
def test_presets_depend_on_the_model(words, expected):
    config = parse(chapter.Config, words.split(), "prog")
    assert (config.model, config.epochs, config.max_steps, config.augment) == expected


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["scratch", "builtin"])
def test_quick_preset_reaches_95_percent(backend, here):
    assert mnist("--preset", "quick", "--data", "sample", "--backend", backend) == 0
    assert summary(here / "runs" / "mnist" / f"mnist-deep-{backend}-001")["test_accuracy"] > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["scratch", "builtin"])
def test_default_network_learns_the_sample_in_three_minutes(backend, here):
    assert mnist("--data", "sample", "--backend", backend) == 0
    result = summary(here / "runs" / "mnist" / f"mnist-cnn-{backend}-001")
    assert result["test_accuracy"] > 0.96
    assert result["seconds"] < 180
