"""What a monitor refuses, and how it says so."""

from __future__ import annotations

import pytest
import torch
from watched import line

from scratchnet.monitor import Monitor


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((None, None, "x"), {}, TypeError, r"module to be a torch\.nn\.Module, got None"),
        (
            (line(), "sgd", "x"),
            {},
            TypeError,
            r"optimizer to be a torch\.optim\.Optimizer or None, got str 'sgd'",
        ),
        (
            (line(), None, 3),
            {},
            TypeError,
            "writer to be a SummaryWriter or the folder to write to, got int 3",
        ),
        ((line(), None, "x"), {"every": 0}, ValueError, "every to be at least 1, got 0"),
        ((line(), None, "x"), {"start_step": -1}, ValueError, "start_step to be 0 or more, got -1"),
    ],
)
def test_bad_arguments_leave_no_folder(arguments, options, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        Monitor(*arguments, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (torch.ones(3), ValueError, r"loss/train: expected one number, got a float32 tensor of shape \(3,\)"),
        ([1.0], TypeError, r"loss/train: expected a number, got list"),
    ],
)
def test_a_figure_that_is_no_number_is_refused_and_the_step_not_counted(value, error, message, folder):
    with Monitor(line(), None, folder) as monitor:
        with pytest.raises(error, match=message):
            monitor.step(loss=value)
        assert monitor.global_step == 0
