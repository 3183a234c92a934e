"""Command line of ``python -m reference speed``, with fake measurements of the machine and tiny workloads."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest
import torch

from reference import __main__ as command
from reference.catalog import RECORDS, Sample
from reference.speed import command as speed
from reference.speed import measure, scaling, targets
from reference.speed.clock import Times
from reference.speed.machine import Machine
from reference.speed.measure import Measurement, Memory
from reference.speed.scaling import Axis
from reference.speed.targets import Target, judge
from reference.speed.workload import DEFAULT, Candidate, op_workload
from scratchnet import kernels

MACHINE = Machine({"processor": "abacus", "threads": "1"}, 1e9, {1024: 1e9}, {1024: 1e8})
OURS, THEIRS = DEFAULT
TINY = (
    op_workload("relu", "few", lambda make: Sample((make.normal(8),))),
    op_workload("one_hot", "few", lambda make: Sample((torch.arange(3), 4)), compiles=False),
    op_workload("max_pool2d", "small", lambda make: Sample((make.normal(1, 2, 4, 4), 2)), layouts=True),
)


def ratio_of_two(passes, budget):
    """Returns times with ours twice as slow as the built-in, and channels-last format 10 % faster."""
    times = {}
    for candidate in passes:
        seconds = (2.0 if candidate.side == "custom" else 1.0) * (0.9 if candidate.channels_last else 1.0)
        times[candidate] = Times([seconds] * 3, [seconds] * 3)
    return times


@pytest.fixture(autouse=True)
def _fake_measurements(monkeypatch):
    monkeypatch.setattr(speed, "measure_machine", lambda: MACHINE)
    monkeypatch.setattr(speed, "WORKLOADS", TINY)
    monkeypatch.setattr(speed.layer_shapes, "workloads", lambda: ())
    monkeypatch.setattr(speed, "TARGETS", (target(2.0),))
    monkeypatch.setattr(measure, "interleave", ratio_of_two)


def target(limit, *, key=("relu", "few"), each=targets.time_ratio, **more):
    return Target("relu against its twin", limit, (key,) if key else (), each, **more)


def test_lists_what_can_be_timed(capsys):
    assert command.main(["speed", "--list"]) == 0
    assert capsys.readouterr().out.splitlines() == ["relu", "one_hot", "max_pool2d", "conv2d layer"]


def test_prints_machine_and_every_phase_and_layout(capsys):
    assert command.main(["speed"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "processor abacus, threads 1" in lines[0]
    rows = [re.sub(r"\W*│\W*", "|", line).split("|")[1:5] for line in lines if "│" in line]
    phases = ("forward", "backward", "both")
    expected = [["relu", "few", "default", p] for p in phases] + [["one_hot", "few", "default", "forward"]]
    expected += [["max_pool2d", "small", way, p] for way in ("default", "channels_last") for p in phases]
    assert rows == expected


def test_times_only_named_ops(capsys):
    assert command.main(["speed", "one_hot"]) == 0
    out = capsys.readouterr().out
    assert "one_hot" in out
    assert "relu" not in out


def test_times_the_layers_of_networks_by_their_common_name(capsys, monkeypatch):
    layer = dataclasses.replace(TINY[0], op=speed.layer_shapes.OP)
    monkeypatch.setattr(speed.layer_shapes, "workloads", lambda: (layer,))
    assert command.main(["speed", "conv2d layer"]) == 0
    out = capsys.readouterr().out
    assert "conv2d layer" in out
    assert "relu" not in out


def test_refuses_to_time_an_op_whose_samples_differ(capsys, monkeypatch):
    wrong = dataclasses.replace(RECORDS["relu"], custom=lambda x, **_: x.clamp(min=0) * 1.001)
    monkeypatch.setitem(RECORDS, "relu", wrong)
    measure._failure.cache_clear()
    monkeypatch.setattr(measure, "interleave", lambda *_: pytest.fail("timed"))
    try:
        assert command.main(["speed", "relu"]) == 1
    finally:
        measure._failure.cache_clear()
    assert re.search(
        r"relu few is not timed, since relu\(.*\) differs from the built-in: .*output", capsys.readouterr().out
    )


def test_refuses_to_time_an_op_that_differs_only_at_the_timed_size(capsys, monkeypatch):
    sides = (lambda x: x.clamp(min=0) + (x.numel() > 7), lambda x: x.clamp(min=0))
    large = op_workload("relu", "large", lambda make: Sample((make.normal(8),)), sides=lambda: sides)
    monkeypatch.setattr(speed, "WORKLOADS", (large, TINY[1]))
    assert command.main(["speed"]) == 1
    out = capsys.readouterr().out
    assert "relu large is not timed, since both sides differ at this size: output" in out
    assert "one_hot" in out


@pytest.mark.parametrize(("limit", "status", "word"), [(2.0, 0, "met"), (1.9, 1, "falls short")])
def test_missed_target_is_marked_and_gives_status_1(capsys, monkeypatch, limit, status, word):
    monkeypatch.setattr(speed, "TARGETS", (target(limit),))
    assert command.main(["speed", "--targets"]) == status
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if "relu against its twin" in line)
    assert word in row
    assert "2.00" in row
    assert "max_pool2d" not in out


def test_compiled_target_needs_compile_option(capsys, monkeypatch):
    monkeypatch.setattr(speed, "TARGETS", (target(2.0, each=targets.compiled_ratio, compiled=True),))
    assert command.main(["speed", "--targets"]) == 1
    assert "needs --compile" in capsys.readouterr().out


def test_every_format_has_machine_ratios_and_targets(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(speed, "TARGETS", (target(1.0), target(3.0)))
    paths = {name: tmp_path / name for name in ("json", "markdown", "html")}
    words = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
    assert command.main(["speed", "--targets", *words]) == 1
    capsys.readouterr()
    content = json.loads(paths["json"].read_text())
    assert content["machine"]["description"]["processor"] == "abacus"
    (found,) = content["measurements"]
    assert found["ratios"]["default"]["both"] == {"low": 2.0, "middle": 2.0, "high": 2.0}
    assert found["seconds"]["custom"]["both"]["middle"] == 4.0
    assert [t["verdict"] for t in content["targets"]] == ["falls short", "met"]
    table = paths["markdown"].read_text()
    assert "1 of 2 targets are met." in table
    assert "**falls short**" in table
    assert "| relu | few | default | both | 4 s | 2 s | **2.00 (2.00 to 2.00)** |" in table
    page = paths["html"].read_text()
    assert "<!--" not in page
    assert page.count("<svg") == 2
    assert "abacus" in page
    assert "falls short" in page


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["relo"], "did you mean 'relu'?"),
        (["zzz"], "see python -m reference speed --list"),
        (["--seconds", "0"], "--seconds: expected a positive number, got 0"),
        (["--seconds", "soon"], "invalid float value"),
        (["--threads", "0"], "--threads: expected 1 to 1024"),
        (["--threads", str(10**30)], "--threads: expected 1 to 1024"),
        (["one_hot", "--targets"], "expected a name that a target measures, got one_hot"),
        (["relu", "--json", "/nowhere/at/all.json"], "expected a writable file for --json"),
    ],
)
def test_misuse_gives_status_2_and_says_what_is_wrong(arguments, says, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["speed", *arguments])
    assert stop.value.code == 2
    assert says in capsys.readouterr().err


def measured(ours, theirs, saved=(8, 4), peak=(3, 4), **more):
    times = {OURS: Times(ours, [0.0] * len(ours)), THEIRS: Times(theirs, [0.0] * len(theirs)), **more}
    memory = {"custom": Memory(9, saved[0], peak[0]), "builtin": Memory(9, saved[1], peak[1])}
    return Measurement("op", "size", times, memory, {"forward": 0.1, "backward": 0.1, "both": 0.2})


def test_figures_of_targets():
    last = {Candidate("builtin", channels_last=True): Times([1.0, 1.0], [0.0, 0.0])}
    found = measured([3.0, 3.0], [1.5, 2.5], **{})
    assert targets.time_ratio(found) == pytest.approx((2.0 + 1.2) / 2)
    assert targets.best_layout_ratio(dataclasses.replace(found, times=found.times | last)) == 3.0
    assert targets.peak_ratio(found) == 0.75
    assert targets.overhead(found) == pytest.approx(1e6)
    assert targets.overhead_both(measured([3.0], [1.0])) == pytest.approx(2e6)
    assert targets.median([5.0, 1.0, 2.0]) == 2.0


def test_target_over_several_workloads_names_extremes():
    found = {("a", "x"): measured([1.0], [2.0]), ("b", "y"): measured([8.0], [1.0])}
    mean = Target("mean", 2.0, tuple(found), targets.time_ratio)
    verdict = judge(mean, found, {}, compiled=False)
    assert verdict.figure == pytest.approx(2.0)
    assert verdict.note == "0.50 a x; 8.00 b y"
    worst = Target("worst", 2.0, (), targets.time_ratio, max)
    assert judge(worst, found, {}, compiled=False).figure == 8.0
    refused = judge(mean, {("a", "x"): found["a", "x"]}, {("b", "y"): "b differs"}, compiled=False)
    assert (refused.figure, refused.met, refused.note) == (None, False, "b differs")


def test_the_floor_is_the_slower_of_arithmetic_and_memory():
    assert MACHINE.floor(operations=2e9, moved=1e6) == 2.0
    assert MACHINE.floor(operations=1e6, moved=1e9) == 10.0
    assert MACHINE.floor(operations=1e6, moved=1e9, into_fresh=False) == 1.0


def growing(exponents):
    """Returns a function that times ours and the built-in as powers of the size."""

    def times(passes, budget):
        size = next(iter(passes.values())).tensors[0].numel()
        ours, theirs = (float(size) ** p for p in exponents)
        return {c: Times([ours if c.side == "custom" else theirs] * 3, [0.0] * 3) for c in passes}

    return times


@pytest.mark.parametrize(("exponents", "status"), [((1.0, 1.0), 0), ((2.0, 1.0), 1), ((1.0, 2.0), 0)])
def test_scaling_fits_exponents_and_fails_on_a_worse_one(exponents, status, capsys, monkeypatch):
    axis = Axis("relu", "length", (16, 64, 256), lambda n, make: Sample((make.normal(n),)))
    monkeypatch.setattr(speed, "AXES", (axis,))
    monkeypatch.setattr(scaling, "interleave", growing(exponents))
    assert command.main(["speed", "--scaling", "relu"]) == status
    out = capsys.readouterr().out
    assert "relu: exponents {:.2f}, {:.2f}".format(*exponents) in out
    assert ("relu grows with length" in out) == bool(status)


def test_every_format_has_targets_and_growth_of_one_run(tmp_path, capsys, monkeypatch):
    axis = Axis("relu", "length", (16, 64, 1024), lambda n, make: Sample((make.normal(n),)))
    monkeypatch.setattr(speed, "AXES", (axis,))
    monkeypatch.setattr(scaling, "interleave", growing((2.0, 1.0)))
    paths = {name: tmp_path / name for name in ("json", "markdown", "html")}
    words = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
    assert command.main(["speed", "--targets", "--scaling", *words]) == 1
    assert "met" in capsys.readouterr().out
    content = json.loads(paths["json"].read_text())
    assert content["targets"][0]["verdict"] == "met"
    (grown,) = content["growth"]
    assert (grown["op"], grown["grows"], grown["sizes"]) == ("relu", "length", [16, 64, 1024])
    assert [row["middle"] for row in grown["ratios"]] == [16.0, 64.0, 1024.0]
    table = paths["markdown"].read_text()
    assert "1 of 1 targets are met." in table
    assert "Ours grows faster than the built-in on 1 of 1 axes." in table
    assert "| relu | length | 16, 64, 1\N{NO-BREAK SPACE}024 | 16.00, 64.00, 1024.00 | **2.00** | 1.00 |" in table
    assert "1\N{NO-BREAK SPACE}024" in paths["html"].read_text()


def test_interrupt_leaves_what_was_timed(tmp_path, capsys, monkeypatch):
    def one_and_interrupt(workload, *rest, **options):
        if workload.op == "one_hot":
            raise KeyboardInterrupt
        return measure.measure(workload, *rest, **options)

    monkeypatch.setattr(speed, "measure", one_and_interrupt)
    assert command.main(["speed", "--json", str(tmp_path / "times")]) == 130
    assert "interrupted after 1 of 3" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "times").read_text())["measurements"]) == 1


def test_scaling_knows_its_ops(capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["speed", "--scaling", "selu"])
    assert stop.value.code == 2
    assert "the name of an op that --scaling times" in " ".join(capsys.readouterr().err.split())


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("axis", scaling.AXES, ids=lambda axis: f"{axis.op} {axis.name}")
def test_both_sides_of_an_axis_agree(axis):
    assert axis.workload(axis.sizes[0]).compare().ok


def test_times_compiled_kernels(capsys):
    assert command.main(["speed", "relu", "--kernels"]) == 0
    assert capsys.readouterr().out.count("kernels") == 3  # forward, backward, both


def test_kernels_without_a_compiler_are_refused(capsys, monkeypatch):
    def fail():
        raise RuntimeError("expected a C++ compiler")

    monkeypatch.setattr(kernels, "enable", fail)
    with pytest.raises(SystemExit) as stop:
        command.main(["speed", "relu", "--kernels"])
    assert stop.value.code == 2
    assert "expected a C++ compiler" in capsys.readouterr().err
