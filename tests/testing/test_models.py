"""Whole models compared: the first layer that departs is named, and in which pass."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from scratchnet import convert
from scratchnet.testing import compare_models


class Shifted(torch.autograd.Function):
    """The identity, whose backward is off."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return 1.001 * grad


class WrongBackward(nn.Tanh):
    def forward(self, input):
        return Shifted.apply(super().forward(input))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    block = nn.Sequential(nn.Linear(4, 6), nn.Tanh())
    return nn.Sequential(block, nn.Dropout(0.5), nn.Linear(6, 3), nn.ReLU(inplace=True))


@pytest.fixture
def x():
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(0))


def test_a_converted_model_agrees_in_every_layer(x):
    theirs = network()
    ours = copy.deepcopy(theirs)
    convert(ours)
    before = copy.deepcopy(theirs.state_dict())
    found = compare_models(ours, theirs, x)
    assert found.ok, found
    assert str(found) == f"equal: {len(found.rows)} quantities within 1e-09"
    names = [row.name for row in found.rows if row.quantity == "activation"]
    assert names == ["0.0", "0.1", "0", "1", "2", "3"]
    assert {row.quantity for row in found.rows} == {
        "parameter",
        "activation",
        "output",
        "gradient of activation",
        "gradient of parameter",
    }
    assert all(row.in_float32 < 1e-5 for row in found.rows)
    assert all(torch.equal(before[name], value) for name, value in theirs.state_dict().items())
    assert all(not module._forward_hooks for module in theirs.modules())


def test_the_first_layer_that_departs_forward_is_named(x):
    ours, theirs = network(), network()
    ours[0][1] = nn.Softsign()
    found = compare_models(ours, theirs, x)
    assert found.departs == "in the forward pass, at activation 0.1"
    assert str(found).splitlines()[0].endswith("first in the forward pass, at activation 0.1")


def test_the_first_gradient_that_departs_backward_is_named(x):
    ours, theirs = network(), network()
    ours[0][1] = WrongBackward()
    found = compare_models(ours, theirs, x)
    assert found.departs == "in the backward pass, at gradient of activation 0.0"
    assert {row.quantity for row in found.failures} == {"gradient of activation", "gradient of parameter"}


def test_other_weights_and_shapes_are_named(x):
    ours, theirs = network(), network()
    with torch.no_grad():
        ours[2].bias[0] += 1
    assert compare_models(ours, theirs, x).departs == "before the forward pass, at parameter 2.bias"
    ours[2] = nn.Linear(6, 2)
    assert "parameter 2.weight: shape (2, 6), expected (3, 6)" in str(compare_models(ours, theirs, x))


def test_layers_of_other_names_are_mapped_with_what_is_below_them(x):
    class Port(nn.Module):
        def __init__(self):
            super().__init__()
            parts = network()
            self.body, self.head, self.drop = parts[0], parts[2], parts[1]

        def forward(self, x):
            return {"logits": self.head(self.drop(self.body(x))).relu()}

    found = compare_models(Port(), network(), x, map={"body": "0", "head": "2", "drop": "1"})
    assert found.ok, found
    assert found.unmatched == ("only theirs: activation 3", "only theirs: gradient of activation 3")
    assert compare_models(Port(), network(), x).unmatched


def test_what_is_no_module_is_refused(x):
    with pytest.raises(TypeError, match="expected two torch.nn.Modules, got function"):
        compare_models(network(), lambda x: x, x)
