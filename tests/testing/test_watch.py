"""Two networks that should be one: where they part is seen, layer by layer."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from scratchnet.testing import watch


class Scalars:
    def __init__(self):
        self.seen = {}

    def add_scalar(self, tag, value, step):
        self.seen[tag, step] = value


class WrongGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, grad):
        return -grad * (ctx.saved_tensors[0] > 0)


class WrongReLU(nn.ReLU):
    def forward(self, input):
        return WrongGradient.apply(input)


class ShiftedReLU(nn.ReLU):
    def forward(self, input):
        return super().forward(input) + 0.1


def network(activation):
    torch.manual_seed(0)
    return nn.Sequential(OrderedDict(fc1=nn.Linear(4, 5), act=activation(), fc2=nn.Linear(5, 2)))


def passed(custom, builtin, writer=None, step=7):
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    with watch(custom, builtin, writer) as twins:
        for model in (custom, builtin):
            model(x).square().sum().backward()
        return twins.measure(step)


def test_two_equal_networks_do_not_part():
    found = passed(network(nn.ReLU), network(nn.ReLU))
    assert found.outputs == {"fc1": 0.0, "act": 0.0, "fc2": 0.0}
    assert found.gradients == {"fc1": 0.0, "fc2": 0.0}
    assert found.first is None


def test_the_first_layer_that_departs_is_named_and_written():
    writer = Scalars()
    found = passed(network(ShiftedReLU), network(nn.ReLU), writer)
    assert found.first == "act"
    assert found.outputs["fc1"] == 0
    assert found.outputs["act"] > 0.01
    assert writer.seen["twin/first_departure", 7] == 1
    assert writer.seen["twin_output/act", 7] == found.outputs["act"]


def test_a_wrong_backward_shows_in_the_gradients_below_it_alone():
    found = passed(network(WrongReLU), network(nn.ReLU))
    assert found.first is None
    assert found.gradients["fc2"] == 0
    assert found.gradients["fc1"] == pytest.approx(2)
    assert found.gradient_cosines["fc1"] == pytest.approx(2)


def test_evaluation_is_not_looked_at_and_hooks_are_taken_away():
    model, twin = network(nn.ReLU), network(nn.ReLU)
    with watch(model, twin) as twins:
        model.eval()
        model(torch.ones(1, 4))
        assert not twins.outputs[0]
    assert not any(module._forward_hooks for module in (*model.modules(), *twin.modules()))


def test_where_nobody_looks_there_are_no_hooks():
    model, twin = network(nn.ReLU), network(nn.ReLU)
    with watch(model, twin) as twins:
        for whether, hooks in ((False, 0), (True, 3), (True, 3), (False, 0)):
            twins.looking = whether
            assert twins.looking is whether
            assert [sum(len(m._forward_hooks) for m in side.modules()) for side in (model, twin)] == [hooks] * 2
        model(torch.ones(1, 4))
        assert not twins.outputs[0]


def test_networks_of_other_layers_are_refused():
    with pytest.raises(ValueError, match="layers of the same names"):
        watch(network(nn.ReLU), nn.Linear(4, 2))
