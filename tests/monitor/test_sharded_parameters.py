"""Parameters spread over processes: the figures are those of the whole tensors, and nobody waits in vain."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(how, world, tmp_path):
    """Trains in several processes; returns the folder that the first of them wrote."""
    folder = tmp_path / how
    command = [sys.executable, str(ROOT / "tests" / "monitor" / "sharded_training.py"), how]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(world), str(tmp_path / f"meeting of {how}"), str(folder)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    for process in processes:
        try:
            _, complained = process.communicate(timeout=120)
        finally:
            process.kill()
        assert process.returncode == 0, complained
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return run("plain", 1, tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("world", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("how", ["replicated", "sharded", "tensor parallel"])
def test_figures_are_those_of_one_process(how, world, plain, tmp_path, events):
    expected = events(plain)
    found = events(run(how, world, tmp_path))
    assert found.scalars == expected.scalars
    assert found.histograms == expected.histograms
    assert not found.not_seen()
    # Between two layers of tensor parallelism each process has its own features.
    own = ("up", "relu") if (how, world) == ("tensor parallel", 2) else ()
    for tag in expected.scalars:
        if tag.startswith(("outputs_", "units_")) and tag.partition("/")[2] in own:
            continue
        assert found.curve(tag) == pytest.approx(expected.curve(tag), rel=1e-4, abs=1e-6), tag
    for tag in expected.histograms:
        for one, other in zip(*(e.accumulator.Histograms(tag) for e in (found, expected)), strict=True):
            assert one.step == other.step
            for figure in ("num", "min", "max", "sum"):
                value = getattr(other.histogram_value, figure)
                assert getattr(one.histogram_value, figure) == pytest.approx(value, rel=1e-4, abs=1e-6), tag
    filters = "pictures/filters/convolution"
    assert (found.image(filters) - expected.image(filters)).abs().max() <= 2 / 255


@pytest.mark.slow
def test_one_monitor_alone_reads_its_own_part_and_says_so(tmp_path, events):
    found = events(run("sharded, watched by one", 2, tmp_path))
    assert list(found.curve("optimizer/gradient_norm")) == [1, 3]
    (histogram, _) = found.accumulator.Histograms("weights/up.weight")
    assert histogram.histogram_value.num == 18 * 10 / 2
    assert "the whole of up.weight" in found.not_seen()[1]
    assert "not every process has a monitor" in found.not_seen()[1]
