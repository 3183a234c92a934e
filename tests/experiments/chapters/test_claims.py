"""``python -m experiments claims`` from end to end, and that each verdict is one of what was measured."""

from __future__ import annotations

import dataclasses
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from chapter_runs import summary
from experiment_runs import rows
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from experiments import processes
from experiments.__main__ import main
from experiments.backend import BUILTIN, CUSTOM
from experiments.chapters import claims
from experiments.chapters.claims import cost, maxout, record, shapes, training
from experiments.chapters.claims import numerics as rounding
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
def _brisk(monkeypatch):
    for claim in training.STEPS:
        monkeypatch.setitem(training.STEPS, claim, (12, 12))
    monkeypatch.setattr(cost, "SECONDS", 0.01)


@pytest.fixture
def bench(tiny):
    return Bench(CUSTOM, "cpu", 0, load_digits(str(tiny))[0], thorough=False)


def with_layers(bench, **layers):
    """A bench whose backend has other layers under some names."""
    planted = SimpleNamespace(**{**vars(bench.backend.nn), **layers})
    return dataclasses.replace(bench, backend=dataclasses.replace(bench.backend, nn=planted))


def layer(function):
    """A module that is a function of its input."""

    class Layer(torch.nn.Module):
        def forward(self, input):
            return function(input)

    return Layer


@pytest.mark.usefixtures("_brisk")
def test_a_run_writes_claim_beside_verdict_and_measurement(tiny, tmp_path, monkeypatch, capsys):
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
    for measure, row in zip(claims.MEASUREMENTS, found, strict=True):
        for number, value in row["numbers"].items():
            assert events.Scalars(f"{measure.__name__}/{number}")[0].value == pytest.approx(value)

    # A run that is killed goes on after the last claim that it had measured.
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
        if "costs less" not in one["claim"]:  # which is a matter of time
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
def test_what_is_true_of_both_backends(measure, verdict, backend, bench):
    assert measure(dataclasses.replace(bench, backend=backend)).verdict == verdict


PLANTED = {
    shapes.slope_of_sigmoid: ({"Sigmoid": layer(lambda x: x**3)}, "true"),
    shapes.tails_of_tanh: ({"Tanh": layer(lambda x: x * (-x.square()).exp())}, "true"),
    shapes.formula_of_tanh: ({"Tanh": layer(lambda x: x.tan() / (1 + x.tan()))}, "true"),
    shapes.relu_is_no_parabola: ({"ReLU": layer(lambda x: -x.square())}, "true"),
    gradients_in_depth: ({"Sigmoid": CUSTOM.nn.Tanh, "Tanh": CUSTOM.nn.Sigmoid}, "false"),
    training.elus_alpha: ({"ELU": CUSTOM.nn.LearnedELU}, "true"),
    training.dead_units: ({"ReLU": CUSTOM.nn.LeakyReLU}, "not in this training"),
}


@pytest.mark.usefixtures("_brisk")
@pytest.mark.parametrize("measure", PLANTED, ids=lambda measure: measure.__name__)
def test_with_other_layers_the_verdict_is_another(measure, bench):
    layers, verdict = PLANTED[measure]
    assert measure(with_layers(bench, **layers)).verdict == verdict


def test_the_more_exact_function_wins(bench):
    exact = {name: layer(lambda x, f=f: f(x.double()).to(x.dtype)) for name, f in FUNCTIONS.items()}
    one = rounding.logistic_against_tanh(with_layers(bench, Sigmoid=exact["Sigmoid"]))
    other = rounding.logistic_against_tanh(with_layers(bench, Tanh=exact["Tanh"]))
    assert one.verdict == "true as built; true of the bare formulas"
    assert other.verdict == "false as built; true of the bare formulas"
    assert one.numbers["logistic_ulps"] == pytest.approx(0.5, abs=0.01)


FUNCTIONS = {"Sigmoid": torch.sigmoid, "Tanh": torch.tanh}


def test_an_error_is_counted_in_units_of_the_last_place():
    truth = torch.tensor([1.0, 1.0, -4.0, 1e-3], dtype=torch.float64)
    value = torch.tensor([1.0, 1 + 2**-23, -4 - 3 * 2**-21, 1e-3], dtype=torch.float64).float()
    torch.testing.assert_close(ulps(value, truth)[:3], torch.tensor([0, 1, 3], dtype=torch.float64))
    assert 0 < ulps(value, truth)[3] <= 0.5


@pytest.mark.parametrize(("relu", "verdict"), [(1.0, "true"), (3.0, "false")])
def test_the_cheaper_one_costs_less(relu, verdict, bench, monkeypatch):
    times = {"ReLU": relu, "LeakyReLU": 1.0, "ELU": 2.0, "Sigmoid": 2.0, "Tanh": 4.0}
    monkeypatch.setattr(cost, "seconds_each", lambda *calls, budget: list(times.values()))
    assert list(times) == list(cost.ACTIVATIONS)
    found = cost.cost_of_activations(bench)
    assert found.verdict == verdict
    assert f"costs {2 / relu:.2f} times as much as ReLU" in found.measured


def test_who_learns_in_fewer_steps_converges_faster(bench, monkeypatch):
    def lessons(bench, build, lr, steps, seed):
        speed = 0.1 if build.keywords["activation"] == faster else 0.05
        return ((None, 2.0 - speed * step) for step in range(steps))

    monkeypatch.setattr(training, "lessons", lessons)
    for faster, verdict in (("ELU", "true here"), ("ReLU", "false here")):
        found = training.elu_against_relu(bench)
        assert found.verdict == verdict
        steps = {"ELU": found.numbers["elu_steps"], "ReLU": found.numbers["relu_steps"]}
        # The mean of the ten last losses comes down to 1 when the middle of them does.
        assert steps.pop(faster) == 16
        assert list(steps.values()) == [26]


def test_maxout_is_counted_among_the_activations_in_use(bench, monkeypatch):
    assert maxout.maxout_is_no_default(bench).verdict == "false"
    monkeypatch.setattr(maxout, "activations_in_use", lambda: (4, Counter(Maxout=3, ReLU=1)))
    assert maxout.maxout_is_no_default(bench).verdict == "true"


def test_several_processes_are_one_line(here, monkeypatch, capsys):
    monkeypatch.setattr(processes, "size", lambda: 2)
    assert main(["claims"]) == 2
    assert capsys.readouterr().err == "error: claims: expected one process, got 2; start it without torchrun\n"


@pytest.mark.slow
def test_under_the_quick_preset_units_die(here):
    assert main(["claims"]) == 0
    verdicts = {row["claim"]: row["verdict"] for row in rows(here / "runs" / "claims-scratch-001")}
    assert verdicts["units can die under ReLU, not under leaky ReLU"] == "true"
