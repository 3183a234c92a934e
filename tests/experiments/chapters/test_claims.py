"""Tests of ``python -m experiments claims``: its files, and that verdicts follow from measurements."""

from __future__ import annotations

import dataclasses
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from chapter_runs import assert_cards, summary
from experiment_runs import rows
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from experiments import processes
from experiments.__main__ import main
from experiments.backend import BUILTIN, CUSTOM
from experiments.chapters import claims
from experiments.chapters.claims import numerics, record, shapes, training
from experiments.chapters.claims.depth import gradients_in_depth
from experiments.chapters.claims.finding import Bench
from experiments.chapters.claims.numerics import ulps
from experiments.data.digits import load_digits

FIGURES = [
    measure.__name__
    for measure in claims.MEASUREMENTS
    if measure.__name__ not in ("back_propagation", "support_vector_machine", "elus_alpha")
]


@pytest.fixture
def _fast(monkeypatch):
    for claim in training.STEPS:
        monkeypatch.setitem(training.STEPS, claim, (12, 12))
    monkeypatch.setattr(numerics, "SECONDS", 0.01)


@pytest.fixture
def bench(tiny):
    return Bench(CUSTOM, "cpu", 0, load_digits(str(tiny))[0], thorough=False)


def with_layers(bench, **layers):
    """Returns a bench whose backend has some layers replaced."""
    replaced = SimpleNamespace(**{**vars(bench.backend.nn), **layers})
    return dataclasses.replace(bench, backend=dataclasses.replace(bench.backend, nn=replaced))


def layer(function):
    """Makes a module class from a function of its input."""

    class Layer(torch.nn.Module):
        def forward(self, input):
            return function(input)

    return Layer


@pytest.mark.usefixtures("_fast")
def test_a_run_writes_claims_verdicts_and_measurements_and_resumes(tiny, tmp_path, monkeypatch, capsys):
    words = ["claims", "--data", str(tiny), "--runs", str(tmp_path)]
    assert main(words) == 0
    run = tmp_path / "claims-scratch-001"
    found = rows(run)
    assert len(found) == len(claims.MEASUREMENTS) == summary(run)["claims"]
    table = (run / "claims.md").read_text()
    out = capsys.readouterr().out
    for row in found:
        assert f"| {row['claim']} | {row['verdict']} | {row['measured']} |" in table
        assert f"claim     {row['claim']}\nverdict   {row['verdict']}\n" in out
        assert summary(run)["verdicts"][row["claim"]] == row["verdict"]
    assert table.strip() in out
    for _, what, source in record.SOURCES:
        assert f"| {what} | {source} |" in table
    for name in FIGURES:
        assert (run / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    events = EventAccumulator(str(run)).Reload()
    assert {f"0_story/{name}" for name in FIGURES} == set(events.Tags()["images"])
    assert "0_story/claims/text_summary" in events.Tags()["tensors"]
    assert_cards(events)
    for measure, row in zip(claims.MEASUREMENTS, found, strict=True):
        for number, value in row["numbers"].items():
            assert events.Scalars(f"metrics/{measure.__name__}/{number}")[0].value == pytest.approx(value)

    # A killed run continues after the last claim that it measured.
    measured = []
    counted = [counting(measure, measured) for measure in claims.MEASUREMENTS]
    monkeypatch.setattr(claims, "MEASUREMENTS", (*counted[:4], killer, *counted[5:]))
    with pytest.raises(MemoryError):
        main(words)
    monkeypatch.setattr(claims, "MEASUREMENTS", tuple(counted))
    killed = tmp_path / "claims-scratch-002"
    assert main(["claims", "--resume", str(killed)]) == 0
    assert measured == [measure.__name__ for measure in counted]
    continued = EventAccumulator(str(killed)).Reload()
    for tag in events.Tags()["images"]:
        assert len(continued.Images(tag)) == 1
    for tag in events.Tags()["scalars"]:
        assert len(continued.Scalars(tag)) == 1
    again = rows(killed)
    for one, other in zip(found, again, strict=True):
        if "costs less" not in one["claim"]:  # its verdict depends on timing
            assert (one["claim"], one["verdict"]) == (other["claim"], other["verdict"])
            assert one["numbers"] == pytest.approx(other["numbers"], rel=1e-9, abs=1e-14)


def counting(measure, measured):
    def count(bench):
        measured.append(measure.__name__)
        return measure(bench)

    count.__name__ = measure.__name__
    return count


def killer(bench):
    raise MemoryError


@pytest.mark.parametrize("backend", [CUSTOM, BUILTIN], ids=lambda backend: backend.name)
@pytest.mark.parametrize(
    ("measure", "verdict"),
    [
        (shapes.formula_of_tanh, "false"),
        (shapes.slope_of_sigmoid, "false"),
        (shapes.tails_of_tanh, "false"),
        (shapes.relu_is_no_parabola, "false"),
        (gradients_in_depth, "true"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_verdicts_hold_for_both_backends(measure, verdict, backend, bench):
    assert measure(dataclasses.replace(bench, backend=backend)).verdict == verdict


REPLACED = {
    shapes.slope_of_sigmoid: ({"Sigmoid": layer(lambda x: x**3)}, "true"),
    shapes.tails_of_tanh: ({"Tanh": layer(lambda x: x * (-x.square()).exp())}, "true"),
    shapes.formula_of_tanh: ({"Tanh": layer(lambda x: x.tan() / (1 + x.tan()))}, "true"),
    shapes.relu_is_no_parabola: ({"ReLU": layer(lambda x: -x.square())}, "true"),
    gradients_in_depth: ({"Sigmoid": CUSTOM.nn.Tanh, "Tanh": CUSTOM.nn.Sigmoid}, "false"),
    training.elus_alpha: ({"ELU": CUSTOM.nn.LearnedELU}, "true"),
    training.dead_units: ({"ReLU": CUSTOM.nn.LeakyReLU}, "not in this training"),
}


@pytest.mark.usefixtures("_fast")
@pytest.mark.parametrize("measure", REPLACED, ids=lambda measure: measure.__name__)
def test_other_layers_change_the_verdict(measure, bench):
    layers, verdict = REPLACED[measure]
    assert measure(with_layers(bench, **layers)).verdict == verdict


def test_verdict_on_rounding_follows_the_smaller_error(bench):
    exact = {name: layer(lambda x, f=f: f(x.double()).to(x.dtype)) for name, f in FUNCTIONS.items()}
    one = numerics.logistic_against_tanh(with_layers(bench, Sigmoid=exact["Sigmoid"]))
    other = numerics.logistic_against_tanh(with_layers(bench, Tanh=exact["Tanh"]))
    assert one.verdict == "true as built; true of the textbook formulas"
    assert other.verdict == "false as built; true of the textbook formulas"
    assert one.numbers["logistic_ulps"] == pytest.approx(0.5, abs=0.01)


FUNCTIONS = {"Sigmoid": torch.sigmoid, "Tanh": torch.tanh}


def test_ulps_counts_units_in_the_last_place():
    truth = torch.tensor([1.0, 1.0, -4.0, 1e-3], dtype=torch.float64)
    value = torch.tensor([1.0, 1 + 2**-23, -4 - 3 * 2**-21, 1e-3], dtype=torch.float64).float()
    torch.testing.assert_close(ulps(value, truth)[:3], torch.tensor([0, 1, 3], dtype=torch.float64))
    assert 0 < ulps(value, truth)[3] <= 0.5


@pytest.mark.parametrize(("relu", "verdict"), [(1.0, "true"), (3.0, "false")])
def test_verdict_on_cost_follows_the_times(relu, verdict, bench, monkeypatch):
    times = {"ReLU": relu, "LeakyReLU": 1.0, "ELU": 2.0, "Sigmoid": 2.0, "Tanh": 4.0}
    monkeypatch.setattr(numerics, "seconds_each", lambda *calls, budget: list(times.values()))
    assert list(times) == list(numerics.ACTIVATIONS)
    found = numerics.cost_of_activations(bench)
    assert found.verdict == verdict
    assert f"costs {2 / relu:.2f} times as much as ReLU" in found.measured


def test_verdict_on_convergence_follows_the_step_counts(bench, monkeypatch):
    def training_steps(bench, build, lr, steps, seed):
        speed = 0.1 if build.keywords["activation"] == faster else 0.05
        return ((None, 2.0 - speed * step) for step in range(steps))

    monkeypatch.setattr(training, "training_steps", training_steps)
    for faster, verdict in (("ELU", "true here"), ("ReLU", "false here")):
        found = training.elu_against_relu(bench)
        assert found.verdict == verdict
        steps = {"ELU": found.numbers["elu_steps"], "ReLU": found.numbers["relu_steps"]}
        # The mean of ten linear losses reaches 1 when the middle one does.
        assert steps.pop(faster) == 16
        assert list(steps.values()) == [26]


def test_verdict_on_maxout_follows_the_counts(bench, monkeypatch):
    assert record.maxout_is_no_default(bench).verdict == "false"
    monkeypatch.setattr(record, "activations_in_use", lambda: (4, Counter(Maxout=3, ReLU=1)))
    assert record.maxout_is_no_default(bench).verdict == "true"


def test_several_processes_are_an_error(here, monkeypatch, capsys):
    monkeypatch.setattr(processes, "size", lambda: 2)
    assert main(["claims"]) == 2
    assert capsys.readouterr().err == "error: claims: expected one process, got 2; start it without torchrun\n"


@pytest.mark.slow
def test_units_die_in_the_quick_preset(here):
    assert main(["claims"]) == 0
    verdicts = {row["claim"]: row["verdict"] for row in rows(here / "runs" / "claims" / "claims-scratch-001")}
    assert verdicts["units can die under ReLU, not under leaky ReLU"] == "true"
