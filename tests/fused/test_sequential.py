"""`Sequential`: where modules meet they run as one op, and nobody can tell."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook

from scratchnet import nn


def ops(y):
    """The names of the Functions behind a tensor."""
    found, left = [], [y.grad_fn]
    while left:
        node = left.pop()
        if node is not None:
            found.append(node.name().removesuffix("FunctionBackward"))
            left += [n for n, _ in node.next_functions]
    return [name for name in found if not name.startswith("torch::")]


def layers():
    torch.manual_seed(0)
    return [nn.Conv2d(3, 18, 3), nn.ReLU(), nn.Conv2d(18, 20, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]


def images(dtype=torch.float32):
    return torch.randn(2, 3, 14, 15, generator=torch.Generator().manual_seed(1)).to(dtype)


FUSED = ["ConvolutionReLUMaxPool", "ConvolutionReLU"]
APART = ["MaxPool", "ReLU", "Convolution", "ReLU", "Convolution"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("inplace", [False, True])
def test_what_meets_runs_together_and_makes_the_same(dtype, inplace):
    model = nn.Sequential(*layers()).to(dtype)
    model[1].inplace = inplace
    together, x = model(images(dtype)), images(dtype)
    for module in model:
        x = module(x)
    assert ops(together) == (
        FUSED if dtype in (torch.float64, torch.float32) else ["MaxPool", *["ConvolutionReLU"] * 2]
    )
    assert torch.equal(together, x)
    upstream = torch.randn(x.shape, generator=torch.Generator().manual_seed(2)).to(dtype)
    got, expected = (torch.autograd.grad(y, model.parameters(), upstream) for y in (together, x))
    for one, other in zip(got, expected, strict=True):
        # A bias adds up the gradients of what is pooled here, and of all outputs, most of them 0, there.
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_without_gradients_it_makes_the_same():
    model = nn.Sequential(*layers())
    with torch.no_grad():
        assert torch.equal(model(images()), torch.nn.Sequential(*layers())(images()))


class Kind(nn.ReLU):
    """A subclass, which may do anything."""


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m[2].register_forward_hook(lambda *_: None),
        lambda m: m[3].register_forward_pre_hook(lambda *_: None),
        lambda m: m[3].register_full_backward_hook(lambda *_: None),
        lambda m: m[2].register_full_backward_pre_hook(lambda *_: None),
        lambda m: setattr(m, "3", Kind()),
        lambda m: setattr(m[3], "forward", torch.relu),
        lambda m: setattr(m[2], "padding_mode", "reflect"),
    ],
    ids=["hook", "pre-hook", "backward hook", "backward pre-hook", "subclass", "own forward", "other padding"],
)
def test_a_module_that_does_more_runs_by_itself(change):
    model = nn.Sequential(*layers())
    change(model)
    names = ops(model(images()))
    assert "ConvolutionReLUMaxPool" not in names
    assert names[-1] == "ConvolutionReLU"


def test_pooling_with_a_hook_leaves_convolution_and_rectifier_together():
    model, seen = nn.Sequential(*layers()), []
    model[4].register_forward_hook(lambda module, args, y: seen.append(args[0].shape))
    assert ops(model(images())) == ["MaxPool", "ConvolutionReLU", "ConvolutionReLU"]
    assert seen == [(2, 20, 12, 13)]


def test_where_pooling_returns_indices_it_runs_by_itself():
    model = nn.Sequential(*layers()[:4], nn.MaxPool2d(2, return_indices=True))
    y, indices = model(images())
    assert indices.dtype is torch.int64
    assert ops(y) == ["MaxPool", "ConvolutionReLU", "ConvolutionReLU"]


def test_a_hook_of_all_modules_sees_every_one():
    model, seen = nn.Sequential(*layers()), []
    handle = register_module_forward_hook(lambda module, args, y: seen.append(type(module)))
    try:
        y = model(images())
    finally:
        handle.remove()
    assert seen == [nn.Conv2d, nn.ReLU, nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Sequential]
    assert ops(y) == APART


def test_it_is_torchs_container():
    model = nn.Sequential(*layers())
    assert isinstance(model, torch.nn.Sequential)
    assert type(model[1:3]) is nn.Sequential
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(images()), model(images()))
    assert nn.Sequential()("anything") == "anything"
    assert model.append(nn.Flatten())(images()).shape == (2, 720)


def test_parameters_put_in_for_a_call_are_used():
    model = nn.Sequential(*layers())
    zeros = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    assert torch.func.functional_call(model, zeros, (images(),)).count_nonzero() == 0


def test_it_compiles_whole_and_differentiates_under_transforms():
    model = nn.Sequential(*layers()).double()
    x = images(torch.float64)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x))
    one_by_one = torch.stack([model(one.unsqueeze(0))[0] for one in x])
    torch.testing.assert_close(torch.func.vmap(lambda one: model(one.unsqueeze(0))[0])(x), one_by_one)


@pytest.mark.filterwarnings("ignore:`torch.jit.trace:DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_it_can_be_traced():
    model = nn.Sequential(*layers())
    with torch.no_grad():
        traced = torch.jit.trace(model, images())
        torch.testing.assert_close(traced(images()), model(images()))
