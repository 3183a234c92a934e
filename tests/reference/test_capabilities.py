"""The table of capabilities shows what each op can do."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from reference.capabilities import ALONE, COLUMNS, WORKS, capabilities, errors, markdown
from reference.catalog import RECORDS


def replace_relu(monkeypatch, custom):
    monkeypatch.setitem(RECORDS, "relu", dataclasses.replace(RECORDS["relu"], custom=custom))


def test_relu_works_in_every_column():
    found = capabilities("relu")
    assert set(found.values()) == {WORKS}
    assert list(found) == list(COLUMNS)


def test_what_the_built_in_cannot_do_works_alone():
    found = capabilities("multi_margin_loss")
    assert found["double backward"] == found["forward mode"] == ALONE


class WithoutTransforms(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, grad):
        return grad * (ctx.saved_tensors[0] > 0)


def test_error_is_shown_in_its_cell(monkeypatch):
    replace_relu(monkeypatch, lambda x, inplace=False: WithoutTransforms.apply(x))
    found = capabilities("relu")
    assert found["gradient"] == found["double backward"] == WORKS
    assert "setup_context" in found["vmap"]
    assert any(line.startswith("relu, vmap: no setup_context") for line in errors({"relu": found}))


@pytest.mark.parametrize("capability", ["gradient", "float32"])
def test_wrong_value_is_reported(monkeypatch, capability):
    replace_relu(monkeypatch, lambda x, inplace=False: x.clamp(min=0) * 1.001)
    assert capabilities("relu")[capability].startswith("differs: ")


def test_the_page_counts_what_works():
    cells = dict.fromkeys(COLUMNS, WORKS) | {"vmap": "RuntimeError: a | b", "empty": ALONE}
    page = markdown({"relu": cells})
    assert "| `relu` | works |" in page
    assert "RuntimeError: a   b" in page
    assert f"{len(COLUMNS) - 2} work as PyTorch's do, 1 work where PyTorch's do not, 1 do not work." in page
