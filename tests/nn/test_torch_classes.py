"""Every class of torch.nn is here, derived from torch's, and overrides nothing but what computes."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pkgutil
import sys
from pathlib import Path

import pytest
import torch

from scratchnet import functional, nn
from scratchnet.nn.moved import MOVED

CLASSES = {
    name: theirs
    for name, theirs in vars(torch.nn).items()
    if inspect.isclass(theirs) and issubclass(theirs, torch.nn.Module)
}
LENT = {
    "Container",
    "DataParallel",
    "Flatten",
    "Identity",
    "Module",
    "ModuleDict",
    "ModuleList",
    "ParameterDict",
    "ParameterList",
    "Unflatten",
}
# NLLLoss2d is deprecated; torch warns when it is derived from.
OURS = {name: getattr(nn, name) for name in CLASSES if name not in LENT | {"NLLLoss2d"}}
COMPUTING = {
    "forward",
    "_conv_forward",
    "_apply_instance_norm",
    "_get_full_log_prob",
    "cls_to_become",
    "convert_sync_batchnorm",
    "__new__",
    "__setstate__",  # fills in what older pickles lack
    "__init__",  # of the classes that hold others: torch's own constructor, whose modules become ours
}
FILES = [file.name for file in pkgutil.iter_modules(torch.nn.modules.__path__)]
LENT_PACKAGES = [
    name.removeprefix("torch.nn.")
    for name in (
        "torch.nn.attention.flex_attention",  # not imported with torch
        *(name for name in sorted(sys.modules) if name.startswith("torch.nn.")),
    )
    if name.split(".")[2] not in ("functional", "modules")
]


def test_nothing_of_torch_is_missing():
    assert [name for name in dir(torch.nn) if not name.startswith("_") and not hasattr(nn, name)] == []


@pytest.mark.parametrize("name", sorted(LENT))
def test_what_computes_nothing_is_torchs_own(name):
    assert getattr(nn, name) is getattr(torch.nn, name)


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_class_derives_from_torchs(name):
    ours, theirs = OURS[name], CLASSES[name]
    assert issubclass(ours, theirs)
    assert ours is not theirs
    assert inspect.signature(ours.__init__) == inspect.signature(theirs.__init__)
    assert ours.__module__.startswith("scratchnet.nn.modules.")


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_class_derives_from_ours_as_torchs_do(name):
    for base, ours in OURS.items():
        if issubclass(CLASSES[name], CLASSES[base]) and "Lazy" not in name:
            assert issubclass(OURS[name], ours)


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_class_overrides_what_computes_alone(name):
    ours, theirs = OURS[name], CLASSES[name]
    inherited = {attribute for base in theirs.__mro__ for attribute in vars(base)}
    added = [base for base in ours.__mro__ if base.__module__.startswith("scratchnet.")]
    changed = {attribute for base in added for attribute in vars(base)} & inherited
    by_python = {"__module__", "__doc__", "__annotations__", "__firstlineno__", "__static_attributes__"}
    assert changed - by_python - {"__init_subclass__"} <= COMPUTING


def test_packages_below_nn_are_imported_by_name():
    assert importlib.import_module("scratchnet.nn.functional") is functional
    for name in LENT_PACKAGES:
        module = importlib.import_module(f"scratchnet.nn.{name}")
        assert module is importlib.import_module(f"torch.nn.{name}")
        assert module.__spec__.name == f"torch.nn.{name}"


@pytest.mark.parametrize("file", FILES)
def test_a_file_has_every_name_that_torchs_defines(file):
    ours, theirs = (importlib.import_module(f"{package}.nn.modules.{file}") for package in ("scratchnet", "torch"))
    defined = {name for name, found in vars(theirs).items() if getattr(found, "__module__", "") == theirs.__name__}
    assert [name for name in defined if not hasattr(ours, name)] == []
    assert ours is theirs or all(getattr(ours, name) is OURS[name] for name in defined & set(OURS))


def test_an_unknown_package_is_not_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("scratchnet.nn.nonsense")


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [
        ("LazyLinear", (3,), (2, 4)),
        *((f"LazyConv{d}d", (3, 2), (2, 4, *(5,) * d)) for d in (1, 2, 3)),
        *((f"LazyConvTranspose{d}d", (3, 2), (2, 4, *(5,) * d)) for d in (1, 2, 3)),
        *((f"LazyBatchNorm{d}d", (), (2, 4, *(5,) * d)) for d in (1, 2, 3)),
        *((f"LazyInstanceNorm{d}d", (), (2, 4, *(5,) * d)) for d in (1, 2, 3)),
    ],
)
def test_a_lazy_module_becomes_ours_at_its_first_input(name, arguments, shape):
    outputs = []
    for package in (nn, torch.nn):
        torch.manual_seed(0)
        module = getattr(package, name)(*arguments)
        outputs.append(module(torch.ones(shape).cumsum(-1)))
    torch.testing.assert_close(*outputs)
    assert type(getattr(nn, name)(*arguments)).cls_to_become is getattr(nn, name.removeprefix("Lazy"))


def test_modules_inside_a_transformer_are_ours():
    model = nn.Transformer(8, 2, 1, 1, 16)
    computing = [m for m in model.modules() if type(m).__module__.startswith("torch.nn.modules")]
    assert {type(m) for m in computing} == {torch.nn.ModuleList}
    assert model.encoder.layers[0].activation is nn.functional.relu


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"]
)
def test_a_model_is_copied_and_pickled(copied):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)).eval()
    x = torch.randn(3, 1, 4, 4)
    assert torch.equal(copied(model)(x), model(x))


def test_tools_of_torch_know_our_classes():
    model = nn.Sequential(nn.ConvTranspose2d(2, 3, 2), nn.BatchNorm2d(3))
    averaged = torch.optim.swa_utils.AveragedModel(model)
    torch.optim.swa_utils.update_bn([torch.randn(4, 2, 3, 3) + 5], averaged)
    assert averaged.module[1].running_mean.abs().min() > 0
    assert type(torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)[1]) is torch.nn.SyncBatchNorm
    normalized = torch.nn.utils.parametrizations.spectral_norm(nn.ConvTranspose2d(2, 3, 2))
    expected = torch.nn.utils.parametrizations.spectral_norm(torch.nn.ConvTranspose2d(2, 3, 2))
    assert normalized.parametrizations.weight[0].dim == expected.parametrizations.weight[0].dim


def test_extension_points_of_torch_are_called():
    class Standardized(nn.Conv2d):
        def _conv_forward(self, input, weight, bias):
            return super()._conv_forward(input, weight - weight.mean(), bias)

    class AnyShape(nn.BatchNorm1d):
        def _check_input_dim(self, input):
            pass

    class Silent(nn.TransformerEncoderLayer):
        def _sa_block(self, x, *masks, **options):
            return torch.zeros_like(x)

    layer = Standardized(1, 1, 1)
    assert torch.equal(layer(torch.ones(1, 1, 2, 2)), layer.bias.expand(1, 1, 2, 2))
    assert AnyShape(3)(torch.randn(2, 3, 4, 4)).shape == (2, 3, 4, 4)
    layer = Silent(4, 2, 8, dropout=0.0, batch_first=True)
    x = torch.randn(1, 2, 4)
    torch.testing.assert_close(layer(x)[:, :1], layer(x[:, :1]))


@pytest.mark.parametrize("place", sorted(MOVED))
def test_pickles_that_name_an_old_place_load(place):
    for name in MOVED[place].split():
        assert pickle.loads(f"c{place}\n{name}\n.".encode()) is getattr(nn.modules, name)


def test_states_of_older_pickles_are_filled_in():
    conv = nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect")
    network = nn.LSTM(3, 2)
    for module, missing in ((conv, ["_reversed_padding_repeated_twice"]), (network, ["_flat_weights"])):
        state = {key: value for key, value in vars(module).items() if key not in [*missing, "_flat_weights_names"]}
        older = type(module).__new__(type(module))
        older.__setstate__(state)
        x = torch.randn(2, 1, 4, 4) if module is conv else torch.randn(2, 1, 3)
        torch.testing.assert_close(older.to("cpu")(x), module(x))


def test_a_checkpoint_of_whole_modules_from_before_computes_what_it_did():
    before = torch.load(Path(__file__).with_name("checkpoint_0.1.pt"), weights_only=False)
    torch.testing.assert_close(before["net"](before["x"])[0], before["y"])
    torch.testing.assert_close(before["lstm"](torch.ones(3, 4))[0], before["lstm_y"])
    torch.testing.assert_close(before["cell"](torch.ones(2)), before["cell_y"])
    again = copy.deepcopy(pickle.loads(pickle.dumps(before["net"])))
    torch.testing.assert_close(again(before["x"])[0], before["y"])


def test_the_adaptive_softmax_is_torchs():
    results = []
    for package in (nn, torch.nn):
        torch.manual_seed(0)
        layer = package.AdaptiveLogSoftmaxWithLoss(32, 12, [3, 7], dtype=torch.float64)
        x = torch.randn(5, 32, dtype=torch.float64, requires_grad=True)
        output, loss = layer(x, torch.tensor([0, 4, 11, 2, 7]))
        (grad,) = torch.autograd.grad(loss, x)
        results.append([output, loss, grad, layer.log_prob(x), layer.predict(x)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)
    with pytest.raises(RuntimeError, match="expected targets from 0 to 11"):
        nn.AdaptiveLogSoftmaxWithLoss(32, 12, [3, 7])(torch.ones(1, 32), torch.tensor([12]))
