"""Command line of ``python -m reference``."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from reference import __main__ as command
from reference.catalog import RECORDS


def test_lists_the_catalog(capsys):
    assert command.main(["--list"]) == 0
    assert capsys.readouterr().out.split() == list(RECORDS)


def test_compares_named_ops_and_prints_full_rows(capsys):
    assert command.main(["relu", "sigmoid", "--dtype", "float64"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("agrees" in line for line in lines) == 2
    assert "2 of 2 comparisons agree, over 2 ops" in lines[-1]
    assert not any("…" in line for line in lines)


def test_a_wrong_op_gives_status_1_and_its_table(capsys, monkeypatch):
    wrong = dataclasses.replace(RECORDS["relu"], custom=lambda x, **_: x.clamp(min=0) * 1.001)
    monkeypatch.setitem(RECORDS, "relu", wrong)
    assert command.main(["relu", "--dtype", "float64"]) == 1
    out = capsys.readouterr().out
    assert "DIFFERS" in out
    assert "gradient of input" in out


def test_op_that_accepts_bad_input_gives_status_1(capsys, monkeypatch):
    lenient = dataclasses.replace(RECORDS["sigmoid"], custom=lambda x: torch.sigmoid(torch.as_tensor(x)))
    monkeypatch.setitem(RECORDS, "sigmoid", lenient)
    assert command.main(["sigmoid", "--dtype", "float64"]) == 1
    assert "accepts what must raise TypeError" in capsys.readouterr().out


def test_interrupt_shows_and_writes_what_was_done(tmp_path, capsys, monkeypatch):
    path = tmp_path / "report.json"

    def interrupted(name, dtype):
        raise KeyboardInterrupt

    checked = command.check_all([(RECORDS["relu"], torch.float64)])
    monkeypatch.setattr(
        command, "check_all", lambda jobs, device: (next(r) for r in (checked, map(interrupted, "s", "d")))
    )
    assert command.main(["relu", "sigmoid", "--dtype", "float64", "--json", str(path)]) == 130
    out = capsys.readouterr().out
    assert "interrupted after 1 of 2" in out
    assert "1 of 1 comparisons agree" in out
    assert [result["name"] for result in json.loads(path.read_text())["results"]] == ["relu"]


def test_writes_every_row_as_json(tmp_path):
    path = tmp_path / "report.json"
    assert command.main(["relu", "--dtype", "float32", "--json", str(path)]) == 0
    report = json.loads(path.read_text())
    assert report["ok"]
    rows = report["results"][0]["comparisons"][0]["rows"]
    assert {"output", "gradient of input"} <= {row["quantity"] for row in rows}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sigmoit"], "did you mean 'sigmoid'"),
        (["--dtype", "int8"], "invalid choice: 'int8'"),
        (["--what"], "unrecognized arguments: --what"),
        (["relu", "--dtype", "float64", "--json", "/nowhere/at/all.json"], "expected a writable file"),
    ],
)
def test_misuse_gives_status_2_and_says_what_is_wrong(arguments, says, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(arguments)
    assert stop.value.code == 2
    assert says in capsys.readouterr().err
