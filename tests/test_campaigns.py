"""A slice of each campaign, and the faults of built-ins that they do not count."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from campaigns import fuzz, kills, tamper
from campaigns.__main__ import main
from campaigns.known import FAULTS, page

from reference.catalog import RECORDS
from scratchnet import functional

NAMES = {"torch": torch, "F": F, "inf": float("inf"), "nan": float("nan")}


# Always the same cases: of other seeds, one call in some hundreds still asks for a judgment.
@pytest.mark.slow
def test_random_calls_equal_the_built_in():
    assert fuzz.run(300, seed=0) == 0


def too_large(x, **options):
    return 1.01 * F.gelu(x, **options)


def without_gradient(x, **options):
    return F.gelu(x, **options).detach() + 0 * x


def refusing_empty_tensors(x, **options):
    return F.gelu(x, **options) if x.numel() else x.amax()


def doubled(x, **options):
    return F.gelu(x, **options).double()


def unclear(x, **options):
    if x.dtype is torch.bool or options.get("approximate") not in ("none", "tanh", None):
        raise KeyError("gelu")
    return F.gelu(x, **options)


def ending_the_process(x, **options):
    return F.gelu(x, **options) if x.dim() < 3 else os._exit(3)


FAULTY = [too_large, without_gradient, refusing_empty_tensors, doubled, unclear, ending_the_process]


@pytest.mark.parametrize(("gelu", "clean"), [(functional.gelu, True), *((wrong, False) for wrong in FAULTY)])
def test_planted_faults_are_found(monkeypatch, gelu, clean):
    monkeypatch.setattr(fuzz, "RECORDS", {"gelu": replace(RECORDS["gelu"], custom=gelu)})
    assert (fuzz.run(30, seed=1) == 0) is clean


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{f.ops}-{f.when}"[:60] for f in FAULTS])
def test_built_ins_have_the_faults_listed(fault):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if fault.error:
            with pytest.raises((RuntimeError, IndexError, ValueError, TypeError)) as raised:
                eval(fault.proof, dict(NAMES))
            assert fault.error in str(raised.value)
        else:
            assert eval(fault.proof, dict(NAMES))


def test_the_page_of_faults_is_up_to_date():
    assert (Path(__file__).parents[1] / "docs" / "builtin_faults.md").read_text() == page()


@pytest.mark.parametrize("words", [["fuzz", "--cases", "0"], ["fuzz", "--cases", "a"], ["other"], []])
def test_usage_errors_are_short(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert capsys.readouterr().err.splitlines()[-1].startswith("python -m tests.campaigns")


@pytest.mark.slow
@pytest.mark.parametrize(("campaign", "cases"), [(kills, 4), (tamper, 20)], ids=["kills", "tamper"])
def test_stopped_runs_continue_or_say_why_not(campaign, cases):
    assert campaign.run(cases, seed=0) == 0
