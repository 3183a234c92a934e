"""Inside `intercept`, PyTorch's functions call ours, with the same results; outside nothing changes."""

from __future__ import annotations

import threading

import pytest
import torch
import torch.nn.functional as functional_of_torch
from torch import Tensor, nn
from torch.nn.functional import gelu as taken_by_name
from torch.utils.checkpoint import checkpoint

import scratchnet
from scratchnet import functional, intercept
from scratchnet.interception import _table

TABLE = {(owner.__name__, name): getattr(owner, name) for owner, name, _ in _table()}
PLACES = {owner.__name__: owner for owner, _, _ in _table()}
G = torch.Generator().manual_seed(0)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=G, dtype=torch.float64)


X, IMAGES, LABELS = normal(4, 6), normal(2, 4, 6, 6), torch.tensor([1, -1, 1, -1])
UNIT = torch.softmax(X, 1)
# Arguments of a call, in the order of torch.NAME.
CALLS = {
    "adaptive_avg_pool1d": (IMAGES[0], 3),
    "adaptive_max_pool1d": (IMAGES[0], 3),
    "alpha_dropout": (X, 0.5, True),
    "alpha_dropout_": (X, 0.5, True),
    "avg_pool1d": (IMAGES[0], 2),
    "batch_norm": (X, normal(6), normal(6), normal(6), normal(6).exp(), False, 0.1, 1e-5, True),
    "bilinear": (X, X, normal(3, 6, 6), normal(3)),
    "binary_cross_entropy_with_logits": (X, UNIT, None, normal(6).exp(), 2),
    "cdist": (X, X),
    "celu": (X, 2.0),
    "celu_": (X, 2.0),
    "channel_shuffle": (IMAGES, 2),
    "conv1d": (IMAGES[0], normal(3, 6, 2)),
    "conv2d": (IMAGES, normal(3, 4, 2, 2), None, 1, 1),
    "conv3d": (IMAGES, normal(3, 2, 1, 2, 2)),
    "conv_tbc": (IMAGES[0], normal(2, 6, 3), normal(3)),
    "conv_transpose1d": (IMAGES[0], normal(6, 3, 2)),
    "conv_transpose2d": (IMAGES, normal(4, 3, 2, 2)),
    "conv_transpose3d": (IMAGES, normal(2, 3, 1, 2, 2)),
    "cosine_embedding_loss": (X, X.flip(0), LABELS, 0.1, 2),
    "cosine_similarity": (X, X.flip(0), 1),
    "ctc_loss": (normal(5, 2, 4).log_softmax(2), torch.tensor([[1, 2], [3, 1]]), (5, 4), (2, 1), 0, 2, False),
    "dropout": (X, 0.5, True),
    "dropout_": (X, 0.5, False),
    "embedding": (X, torch.tensor([0, 3, 3]), -1, True, False),
    "feature_alpha_dropout": (X, 0.5, True),
    "feature_alpha_dropout_": (X, 0.5, True),
    "feature_dropout": (IMAGES, 0.5, True),
    "feature_dropout_": (IMAGES, 0.5, True),
    "group_norm": (IMAGES, 2, normal(4), normal(4), 1e-4, True),
    "hardshrink": (X, 0.3),
    "hinge_embedding_loss": (X[:, 0], LABELS, 0.5, 2),
    "instance_norm": (IMAGES, normal(4), normal(4), None, None, True, 0.1, 1e-5, True),
    "kl_div": (UNIT.log(), UNIT.flip(1), 2),
    "layer_norm": (X, (6,), normal(6), normal(6), 1e-4, True),
    "log_softmax": (X, 1),
    "logsumexp": (X, 1, True),
    "margin_ranking_loss": (X[:, 0], X[:, 1], LABELS, 0.5, 2),
    "max_pool1d": (IMAGES[0], 2, (), 1),
    "max_pool1d_with_indices": (IMAGES[0], 2),
    "max_pool2d": (IMAGES, 2),
    "max_pool3d": (IMAGES, 2),
    "native_channel_shuffle": (IMAGES, 2),
    "pairwise_distance": (X, X.flip(0), 1.0),
    "pdist": (X, 1.0),
    "pixel_shuffle": (IMAGES, 2),
    "pixel_unshuffle": (IMAGES, 2),
    "poisson_nll_loss": (X, UNIT, True, False, 1e-8, 2),
    "prelu": (X, normal(6)),
    "relu": (X,),
    "relu_": (X,),
    "rms_norm": (X, (6,), normal(6)),
    "rrelu": (X, 0.1, 0.3, True),
    "rrelu_": (X, 0.1, 0.3, True),
    "selu": (X,),
    "selu_": (X,),
    "sigmoid": (X,),
    "sigmoid_": (X,),
    "softmax": (X, 1),
    "tanh": (X,),
    "tanh_": (X,),
    "threshold": (X, 0.1, 2.0),
    "threshold_": (X, 0.1, 2.0),
    "triplet_margin_loss": (X, X.flip(0), X.flip(1), 1.0, 2.0, 1e-6, False, 2),
    "_weight_norm": (X, normal(4, 1), 0),
}
CALLS["expit"] = CALLS["sigmoid"]


WITHOUT_DERIVATIVE = ("native_channel_shuffle",)


def computed(function, arguments, differentiable):
    """Returns the outputs and the gradient of the first argument."""
    torch.manual_seed(0)
    x = arguments[0].clone().requires_grad_()
    found = function(x.clone(), *arguments[1:])
    outputs = found if isinstance(found, tuple) else (found,)
    grads = torch.autograd.grad(outputs[0], x, torch.ones_like(outputs[0])) if differentiable else ()
    return [*outputs, *grads]


def by_name(place, name):
    return getattr(PLACES[place], name)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("place", "name"), [at for at in TABLE if at[0] != "torch.nn.functional"])
def test_functions_take_torchs_arguments_and_return_its_values(place, name):
    differentiable = name not in WITHOUT_DERIVATIVE
    expected = computed(by_name(place, name), CALLS[name], differentiable)
    with intercept():
        found = computed(by_name(place, name), CALLS[name], differentiable)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [name for place, name in TABLE if place == "torch.nn.functional"])
def test_functional_forms_are_ours(name):
    with intercept():
        assert getattr(functional_of_torch, name) is getattr(functional, name)
    assert getattr(functional_of_torch, name) is TABLE["torch.nn.functional", name]


def test_nothing_changes_outside_the_block():
    with pytest.raises(KeyError), intercept(), intercept():
        raise KeyError
    assert {(place, name): by_name(place, name) for place, name in TABLE} == TABLE
    assert "sigmoid" not in vars(Tensor)
    assert torch.nn.functional.gelu is taken_by_name


def test_imported_names_and_other_threads_call_ours():
    x = normal(3).requires_grad_()
    seen = []
    with intercept():
        thread = threading.Thread(target=lambda: seen.append(type(taken_by_name(x).grad_fn).__name__))
        thread.start()
        thread.join()
    assert seen == ["GELUFunctionBackward"]
    assert type(taken_by_name(x).grad_fn).__name__ == "GeluBackward0"


class Squashed(torch.autograd.Function):
    """A user's Function, whose backward calls a function of torch's."""

    seen = ""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.tanh(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            y = torch.sigmoid(x.detach().requires_grad_())
        Squashed.seen = type(y.grad_fn).__name__
        return grad * (1 - torch.tanh(x) ** 2)


@pytest.mark.parametrize("reentrant", [False, True])
def test_backward_and_checkpointing_call_ours(reentrant):
    x = normal(3, 3).requires_grad_()

    def net(x):
        return (torch.softmax(functional_of_torch.gelu(x) @ x.sigmoid(), 1) * X[:3, :3]).sum()

    (expected,) = torch.autograd.grad(net(x), x)
    with intercept():
        checkpoint(net, x, use_reentrant=reentrant).backward()
        torch.testing.assert_close(x.grad, expected, rtol=1e-10, atol=1e-12)
        Squashed.apply(x).sum().backward()
    assert Squashed.seen == "SigmoidFunctionBackward"


@pytest.mark.parametrize("backend", ["eager", "aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_code_calls_ours(backend):
    x = normal(3, 3).requires_grad_()
    kernels = []

    def net(x):
        return (torch.softmax(functional_of_torch.gelu(x) @ x.sigmoid(), 1) * X[:3, :3]).sum()

    (expected,) = torch.autograd.grad(net(x), x)
    with intercept():
        torch.compile(net, backend=backend, fullgraph=True)(x).backward()
        torch.testing.assert_close(x.grad, expected, rtol=1e-10, atol=1e-12)

        def keep(graph, inputs):
            kernels.extend(str(node.target) for node in graph.graph.nodes)
            return graph

        torch._dynamo.reset()
        torch.compile(net, backend=keep, fullgraph=True)(x)
    assert not [kernel for kernel in kernels if "gelu" in kernel or kernel == "softmax"]


def test_decorator_and_out_argument():
    @scratchnet.intercept()
    def squash(x, out):
        return torch.sigmoid(x, out=out), type(functional_of_torch.silu(x.requires_grad_()).grad_fn).__name__

    out = torch.empty(0, dtype=torch.float64)
    y, name = squash(X.clone(), out)
    assert y is out
    assert name == "SiLUFunctionBackward"
    torch.testing.assert_close(y, torch.sigmoid(X))


def test_modules_of_torch_call_ours():
    model = nn.Sequential(nn.Linear(6, 3), nn.SiLU())
    with intercept():
        assert type(model(X.float()).grad_fn).__name__ == "SiLUFunctionBackward"
