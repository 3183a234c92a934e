"""`Sequential` fuses modules without an observable difference."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook

from scratchnet import nn
from scratchnet.layout import is_channels_last
from scratchnet.nn.modules import container as sequential


def ops(y):
    """Returns the names of the Functions in the graph of a tensor."""
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
UNFUSED = ["MaxPool", "ReLU", "Convolution", "ReLU", "Convolution"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("inplace", [False, True])
def test_fused_modules_equal_the_modules_in_turn(dtype, inplace):
    model = nn.Sequential(*layers()).to(dtype)
    model[1].inplace = inplace
    fused, x = model(images(dtype)), images(dtype)
    for module in model:
        x = module(x)
    assert ops(fused) == (
        FUSED if dtype in (torch.float64, torch.float32) else ["MaxPool", *["ConvolutionReLU"] * 2]
    )
    assert torch.equal(fused, x)
    upstream = torch.randn(x.shape, generator=torch.Generator().manual_seed(2)).to(dtype)
    got, expected = (torch.autograd.grad(y, model.parameters(), upstream) for y in (fused, x))
    for one, other in zip(got, expected, strict=True):
        # The bias sums the gradients of pooled outputs here, and those of all outputs, mostly zeros, there.
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


CHAIN = [(32, 3, 1), (32, 3, 1), (40, 3, 1), (32, 5, 1), (32, 3, 2), (32, 3, 1)]  # channels, kernel and stride


@pytest.fixture
def layouts(monkeypatch):
    """Records whether the input of each fused op of a `nn.Sequential` is channels last."""
    seen = []

    def record(op):
        def run(x, *args, **kwargs):
            seen.append(is_channels_last(x) if x.dim() == 4 else False)
            return op(x, *args, **kwargs)

        return run

    for name in ("conv2d_relu", "conv2d_relu_max_pool2d"):
        monkeypatch.setattr(sequential, name, record(getattr(sequential, name)))
    return seen


@pytest.mark.parametrize("channels", [1, 3, 16])
@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("channels_last", [None, "images", "weight"])
def test_layout_between_ops_suits_the_second_op(channels_last, pooled, channels, layouts):
    torch.manual_seed(0)
    modules, inner = [], channels
    for out, kernel, stride in CHAIN:
        modules += [nn.Conv2d(inner, out, kernel, stride), nn.ReLU()]
        inner = out
    model = nn.Sequential(*modules, *[nn.MaxPool2d(2)] * pooled).double()
    x = torch.randn(2, channels, 60, 63, dtype=torch.float64)
    if channels_last == "images" and channels > 1:
        x = x.to(memory_format=torch.channels_last)
    if channels_last == "weight":
        model[2].to(memory_format=torch.channels_last)
    x.requires_grad_()
    fused, in_turn = model(x), x
    natural = []
    for i, module in enumerate(model):
        if i in range(0, 12, 2):
            natural.append(is_channels_last(in_turn))
        in_turn = module(in_turn)
    winograd = [False, True, True, False, False, True]  # 3 × 3 kernels, stride 1, and enough channels
    assert layouts == [either or other for either, other in zip(natural, winograd, strict=True)]
    assert fused.stride() == in_turn.stride()
    torch.testing.assert_close(fused, in_turn)
    upstream = torch.randn_like(fused)
    inputs = [x, *model.parameters()]
    got, expected = (torch.autograd.grad(y, inputs, upstream, retain_graph=True) for y in (fused, in_turn))
    for one, other in zip(got, expected, strict=True):
        assert one.stride() == other.stride()
        torch.testing.assert_close(one, other)
    batched = torch.autograd.grad(fused, inputs, torch.stack([upstream, -upstream]), is_grads_batched=True)
    for both, one in zip(batched, got, strict=True):
        torch.testing.assert_close(both, torch.stack([one, -one]))


@pytest.mark.parametrize("groups", [2, 16])
def test_groups_keep_the_layout(groups, layouts):
    model = nn.Sequential(nn.Conv2d(16, 16, 3, groups=groups), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU())
    x = torch.randn(2, 16, 60, 60, requires_grad=True)
    (grad,) = torch.autograd.grad(model(x).sum(), x)
    assert layouts == [False, False]
    assert grad.is_contiguous()


def test_a_single_pixel_has_the_strides_of_the_modules_in_turn():
    model = nn.Sequential(
        *(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(8)),
        *(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.ConvTranspose2d(64, 8, 4)),
    )
    for count in (6, 7):
        fused = in_turn = torch.randn(40, 3, 16, 16)
        fused = model[:count](fused)
        for module in model[:count]:
            in_turn = module(in_turn)
        assert fused.stride() == in_turn.stride()


def test_a_module_may_change_a_later_one():
    class Change(torch.nn.Module):
        def forward(self, x):
            model[1].bias = torch.nn.Parameter(torch.ones(18))
            return x

    model = nn.Sequential(Change(), *layers())
    before = model[1:](images())
    assert torch.equal(model(images()), model[1:](images()))
    assert not torch.equal(before, model[1:](images()))


def test_a_tuple_raises_the_error_of_the_convolution():
    model = nn.Sequential(nn.MaxPool2d(2, return_indices=True), *layers())
    with pytest.raises(TypeError, match="conv2d: expected input to be a tensor, got"):
        model(images())


def test_an_image_without_a_batch_keeps_its_layout(layouts):
    model = nn.Sequential(*layers(), nn.Conv2d(20, 20, 3), nn.ReLU())
    for x in (torch.randn(3, 60, 61), torch.randn(60, 61, 3).movedim(-1, 0)):
        fused, in_turn = model(x), x
        for module in model:
            in_turn = module(in_turn)
        assert fused.stride() == in_turn.stride()
        torch.testing.assert_close(fused, in_turn)
    assert not any(layouts)


@pytest.mark.parametrize("shape", [(), (7,), (3, 0, 60, 60), (3, 4, 60, 60)])
def test_wrong_shapes_raise_the_error_of_the_first_convolution(shape):
    conv = layers()[0]
    with pytest.raises(RuntimeError) as expected:
        conv(torch.randn(shape))
    for model in (nn.Sequential(*layers()), nn.Sequential(*layers()[:2])):
        with pytest.raises(RuntimeError) as raised:
            model(torch.randn(shape))
        assert str(raised.value) == str(expected.value).replace("conv2d:", "conv2d_relu:")


def test_results_are_the_same_without_gradients():
    model = nn.Sequential(*layers())
    with torch.no_grad():
        assert torch.equal(model(images()), torch.nn.Sequential(*layers())(images()))


class CustomReLU(nn.ReLU):
    pass


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m[2].register_forward_hook(lambda *_: None),
        lambda m: m[3].register_forward_pre_hook(lambda *_: None),
        lambda m: m[3].register_full_backward_hook(lambda *_: None),
        lambda m: m[2].register_full_backward_pre_hook(lambda *_: None),
        lambda m: setattr(m, "3", CustomReLU()),
        lambda m: setattr(m[3], "forward", torch.relu),
        lambda m: setattr(m[2], "padding_mode", "reflect"),
    ],
    ids=["hook", "pre-hook", "backward hook", "backward pre-hook", "subclass", "own forward", "other padding"],
)
def test_customized_modules_are_not_fused(change):
    model = nn.Sequential(*layers())
    change(model)
    names = ops(model(images()))
    assert "ConvolutionReLUMaxPool" not in names
    assert names[-1] == "ConvolutionReLU"


def test_a_hook_on_pooling_leaves_convolution_and_relu_fused():
    model, seen = nn.Sequential(*layers()), []
    model[4].register_forward_hook(lambda module, args, y: seen.append(args[0].shape))
    assert ops(model(images())) == ["MaxPool", "ConvolutionReLU", "ConvolutionReLU"]
    assert seen == [(2, 20, 12, 13)]


def test_pooling_with_indices_is_not_fused():
    model = nn.Sequential(*layers()[:4], nn.MaxPool2d(2, return_indices=True))
    y, indices = model(images())
    assert indices.dtype is torch.int64
    assert ops(y) == ["MaxPool", "ConvolutionReLU", "ConvolutionReLU"]


def test_a_global_hook_sees_every_module():
    model, seen = nn.Sequential(*layers()), []
    handle = register_module_forward_hook(lambda module, args, y: seen.append(type(module)))
    try:
        y = model(images())
    finally:
        handle.remove()
    assert seen == [nn.Conv2d, nn.ReLU, nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Sequential]
    assert ops(y) == UNFUSED


def test_behaves_as_torch_s_container():
    model = nn.Sequential(*layers())
    assert isinstance(model, torch.nn.Sequential)
    assert type(model[1:3]) is nn.Sequential
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(images()), model(images()))
    assert nn.Sequential()("anything") == "anything"
    assert model.append(nn.Flatten())(images()).shape == (2, 720)


def test_functional_call_replaces_parameters():
    model = nn.Sequential(*layers())
    zeros = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    assert torch.func.functional_call(model, zeros, (images(),)).count_nonzero() == 0


def test_compiles_without_graph_breaks_and_runs_under_vmap():
    model = nn.Sequential(*layers()).double()
    x = images(torch.float64)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x))
    in_turn = torch.stack([model(one.unsqueeze(0))[0] for one in x])
    torch.testing.assert_close(torch.func.vmap(lambda one: model(one.unsqueeze(0))[0])(x), in_turn)


@pytest.mark.filterwarnings("ignore:`torch.jit.trace:DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_can_be_traced():
    model = nn.Sequential(*layers())
    with torch.no_grad():
        traced = torch.jit.trace(model, images())
        torch.testing.assert_close(traced(images()), model(images()))
