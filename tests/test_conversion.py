"""Conversion of torch's models to ours, in place, and back."""

from __future__ import annotations

import copy
import pickle
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import scratchnet
from experiments.data.vision import models
from reference.catalog import RECORDS
from scratchnet import convert, revert

PAIRS = [
    pytest.param(*pair, id=f"{record.name}-{i}")
    for record in RECORDS.values()
    for i, pair in enumerate(record.modules)
    if isinstance(pair[1](), nn.Module)
]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(32, 3)
    )


@pytest.fixture
def images():
    return torch.randn(4, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def kinds(model: nn.Module) -> list[type]:
    return [type(module) for module in model.modules()]


class Plain(nn.Linear):
    """A subclass with its base's forward."""

    def extra_repr(self):
        return "plain"


class Halved(nn.Linear):
    def forward(self, input):
        return super().forward(input) / 2


class Own(nn.Linear):
    def forward(self, input):
        return input @ self.weight.T


class Conv2d(nn.Module):
    """A user's class with the name of one of torch's."""

    def forward(self, input):
        return input


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_every_class_of_the_catalog_converts_and_reverts(ours, theirs):
    module = theirs().to_empty(device="cpu")
    before = kinds(module)
    assert not (report := convert(module)).left, report
    assert type(module) is type(ours())
    assert all(kind.__module__.startswith("scratchnet.") for kind in kinds(module) if kind not in (nn.ModuleList,))
    revert(module)
    assert kinds(module) == before


def test_converted_model_computes_the_same_and_reverts_exactly(images):
    model, twin = network().double(), network().double()
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for m in (model, twin)]
    assert str(convert(model)) == "converted 5 modules: 1 BatchNorm2d, 1 Conv2d, 1 Linear, 1 ReLU, 1 Sequential"
    assert convert(model).converted == {}
    for _ in range(2):
        for m, optimizer in zip((model, twin), optimizers, strict=True):
            optimizer.zero_grad()
            m(images.double()).square().sum().backward()
            optimizer.step()
    for a, b in zip(model.state_dict().values(), twin.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    before = copy.deepcopy(model.state_dict())
    assert str(revert(model)).startswith("reverted 5 modules")
    assert kinds(model) == kinds(twin)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))


def test_hooks_flags_and_tied_weights_are_kept():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Dropout()).eval()
    model[1].weight = model[0].weight
    model[0].weight.requires_grad_(False)
    calls = []
    model[0].register_forward_hook(lambda *_: calls.append(1))
    convert(model)
    model(torch.zeros(1, 3))
    assert calls == [1]
    assert model[1].weight is model[0].weight
    assert not model[0].weight.requires_grad
    assert not model[2].training


def test_subclasses_are_converted_unless_they_override_forward_entirely():
    model = nn.ModuleList([Plain(3, 3), Halved(3, 3), Own(3, 3)])
    x = torch.randn(2, 3)
    expected = [module(x) for module in model]
    report = convert(model)
    assert set(report.converted) == {"0", "1"}
    assert report.left == {"2": f"{__name__}.Own overrides forward"}
    for module, y in zip(model, expected, strict=True):
        torch.testing.assert_close(module(x), y)
    for module, kind in ((model[0], Plain), (model[1], Halved)):
        assert isinstance(module, kind)
        assert isinstance(module, scratchnet.nn.Linear)
        assert type(module).__name__ == kind.__name__
    again = pickle.loads(pickle.dumps(model))
    assert kinds(again) == kinds(model) == kinds(copy.deepcopy(model))
    assert torch.equal(again[1](x), model[1](x))
    revert(model)
    assert kinds(model) == [nn.ModuleList, Plain, Halved, Own]


def test_parametrization_can_be_removed_after_conversion():
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 2)))
    x = torch.randn(4, 3)
    expected = model(x)
    assert convert(model).converted == {"": "Sequential", "0": "ParametrizedLinear"}
    torch.testing.assert_close(model(x), expected)
    parametrize.remove_parametrizations(model[0], "weight")
    assert type(model[0]) is scratchnet.nn.Linear
    torch.testing.assert_close(model(x), expected)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("activation", ["relu", "gelu", nn.functional.silu, torch.relu])
def test_transformer_layers_use_our_activations(activation):
    torch.manual_seed(0)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, 0.0, activation), 2)
    x = torch.randn(3, 2, 4)
    expected = model(x)
    convert(model)
    assert not any(kind.__module__.startswith("torch.nn.") for kind in kinds(model) if kind is not nn.ModuleList)
    assert model.layers[1].activation.__module__.startswith("scratchnet.")
    torch.testing.assert_close(model(x), expected)
    revert(model)
    assert not getattr(model.layers[1].activation, "__module__", "").startswith("scratchnet.")


def test_functions_that_a_module_holds_are_exchanged_inside_intercept_too():
    model = nn.TransformerEncoderLayer(4, 2, 8, 0.0, nn.functional.gelu)
    with scratchnet.intercept():
        convert(model)
        assert model.activation is scratchnet.functional.gelu
    revert(model)
    assert model.activation is nn.functional.gelu


@pytest.mark.parametrize(
    "held",
    [
        partial(nn.functional.gelu, approximate="tanh"),
        partial(partial(nn.functional.softmax), dim=0),
        [torch.relu, abs],
        ("name", {"act": torch.sigmoid}, nn.ReLU()),
    ],
)
def test_functions_in_partials_and_containers_are_exchanged(held):
    module = nn.Module()
    module.held, other = held, [abs, None]
    module.other = other
    convert(module)
    assert any(f.__module__.startswith("scratchnet.") for f in functions_of(module.held) if callable(f))
    assert module.other is other
    revert(module)
    assert repr(module.held) == repr(held)


def functions_of(held):
    """The functions in partials and containers."""
    if isinstance(held, partial):
        return functions_of(held.func)
    if isinstance(held, list | tuple | dict):
        return [f for part in (held.values() if isinstance(held, dict) else held) for f in functions_of(part)]
    return [held]


def test_functions_that_a_module_holds_are_exchanged():
    class Activation(nn.Module):
        def __init__(self):
            super().__init__()
            self.function, self.gate = nn.functional.mish, torch.sigmoid

        def forward(self, x):
            return self.function(x) * self.gate(x)

    model, x = Activation(), torch.randn(3)
    expected = model(x)
    assert str(convert(model)) == "converted 0 modules\n1 modules of other classes keep their own forward"
    assert model.function is scratchnet.functional.mish
    torch.testing.assert_close(model(x), expected)
    revert(model)
    assert model.function is nn.functional.mish
    assert model.gate is torch.sigmoid


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_unconvertible_modules_are_left_and_reported():
    model = nn.ModuleDict(
        {
            "scripted": torch.jit.script(nn.Sequential(nn.Linear(2, 2))),
            "quantized": torch.ao.nn.quantized.ReLU6(),
            "namesake": Conv2d(),
            "patched": nn.ReLU(),
        }
    )
    model["patched"].forward = lambda x: x
    before, report = kinds(model), convert(model)
    assert kinds(model) == before
    assert report.left == {
        "scripted": "it is a ScriptModule, whose program is fixed",
        "quantized": "torch.ao.nn.quantized.modules.activation.ReLU6 is quantized",
        "namesake": f"{__name__}.Conv2d is not torch's Conv2d",
        "patched": "it has a forward of its own",
    }
    assert "left patched: it has a forward of its own" in str(report)


@pytest.mark.parametrize("where", ["meta", "both"])
def test_model_on_meta_or_two_devices_is_left_unchanged(where):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    (model if where == "meta" else model[1]).to_empty(device="meta")
    report = convert(model)
    assert kinds(model) == [nn.Sequential, nn.Linear, nn.Linear]
    assert "expected parameters on one device that holds values, got them on" in report.left[""]


@pytest.mark.parametrize("function", [convert, revert])
def test_other_objects_raise(function):
    with pytest.raises(TypeError, match="expected a torch.nn.Module, got int"):
        function(3)


def test_converted_model_compiles_and_exports(images):
    model = network().eval()
    expected = model(images)
    convert(model)
    torch.testing.assert_close(torch.compile(model, backend="aot_eager", fullgraph=True)(images), expected)
    torch.testing.assert_close(torch.export.export(model, (images,)).module()(images), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenet_v3_small", "densenet121", "shufflenet_v2_x0_5", "squeezenet1_1", "mnasnet0_5"]
)
def test_networks_of_torchvision_train_as_before(name):
    torch.manual_seed(0)
    model = getattr(models, name)(num_classes=10).double()
    twin = copy.deepcopy(model)
    assert not (report := convert(model)).left, report
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    for m in (model, twin):
        torch.manual_seed(1)
        m(images).square().sum().backward()
    for (parameter, p), q in zip(model.named_parameters(), twin.parameters(), strict=True):
        scale = q.grad.abs().max().item()
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-9, atol=1e-9 * max(1.0, scale), msg=parameter)
