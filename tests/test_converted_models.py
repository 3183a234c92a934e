"""Converted networks of torchvision under everything that training does to a model."""

from __future__ import annotations

import copy
import os
import pickle
from contextlib import nullcontext
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from functorch.compile import make_boxed_func
from torch import Tensor, multiprocessing, nn
from torch._dynamo.backends.common import aot_autograd
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.export import export
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from experiments.data.vision import models
from reference.zoo.entry import thin
from scratchnet import convert, intercept, purity, revert
from scratchnet.inspection import NETWORK

# Networks of BatchNorm and ReLU, and of LayerNorm, GELU and functions that their forward calls.
NETWORKS = ("mobilenet_v2", "convnext_tiny", "swin_t", "shufflenet_v2_x0_5")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def pair(name: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, nn.Module]:
    """Returns a converted network, short of most of its equal layers, and the original."""
    torch.manual_seed(0)
    theirs = thin(getattr(models, name)(num_classes=10)).to(dtype)
    ours = copy.deepcopy(theirs)
    convert(ours)
    return ours, theirs


def batch(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def full(tensor: Tensor) -> Tensor:
    return getattr(tensor, "full_tensor", tensor.clone)().detach()


def step(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Returns scores, loss, gradients and the state after a step of SGD."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    torch.manual_seed(0)  # for dropout and stochastic depth
    scores = model(x)
    loss = torch.nn.functional.cross_entropy(scores, torch.tensor([1, 2]))
    loss.backward()
    gradients = [full(p.grad) for p in model.parameters()]
    optimizer.step()
    return [scores.detach(), loss.detach(), *gradients, *(full(x) for x in model.state_dict().values())]


def assert_equal(ours: list[Tensor], theirs: list[Tensor], tolerance: float = 1e-9) -> None:
    for a, b in zip(ours, theirs, strict=True):
        scale = max(1.0, b.abs().max().item()) if b.is_floating_point() else 1.0
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("name", NETWORKS)
def test_converting_and_reverting_leaves_every_bit(name):
    ours, theirs = pair(name)
    first = [type(module) for module in ours.modules()]
    assert convert(ours).converted == {}
    assert [type(module) for module in ours.modules()] == first
    revert(ours)
    assert [type(module) for module in ours.modules()] == [type(module) for module in theirs.modules()]
    for (key, a), (other, b) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert key == other
        assert torch.equal(a, b)
    for a, b in zip(step(ours, batch()), step(theirs, batch()), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"]
)
def test_copies_are_converted(name, copied):
    ours, theirs = pair(name)
    again = copied(ours)
    assert [type(module) for module in again.modules()] == [type(module) for module in ours.modules()]
    with intercept():
        assert purity(again, batch()).pure
        found = step(again, batch())
    assert_equal(found, step(theirs, batch()))


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_last_is_equal_and_kept(name):
    ours, theirs = (model.to(memory_format=torch.channels_last) for model in pair(name))
    x = batch().to(memory_format=torch.channels_last)
    with intercept():
        found = step(ours, x)
    assert_equal(found, step(theirs, x))
    for (key, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert p.stride() == q.stride(), key
        assert p.grad.stride() == q.grad.stride(), key


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_is_as_close_to_float64_as_the_original(name):
    exact = step(pair(name)[1], batch(torch.bfloat16).double())
    ours, theirs = pair(name, torch.bfloat16)
    with intercept():
        found = step(ours, batch(torch.bfloat16))
    other = step(theirs, batch(torch.bfloat16))
    assert [x.dtype for x in found] == [x.dtype for x in other]

    def error(values: list[Tensor]) -> float:
        return sum(
            float((a.double() - b).norm() / (b.double().norm() + 1e-3)) for a, b in zip(values, exact, strict=True)
        )

    assert error(found) <= 1.2 * error(other)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("name", ["mobilenet_v2", "convnext_tiny", "swin_t"])
def test_activation_checkpointing_is_equal(name, reentrant):
    def run(model: nn.Module):
        def call(x: Tensor) -> Tensor:
            y = checkpoint_sequential(model.features, 3, x, use_reentrant=reentrant)
            return model.head(y.mean((1, 2))) if name == "swin_t" else y.mean((2, 3))

        return call

    ours, theirs = pair(name)
    x = batch().requires_grad_()
    for model in (ours, theirs):
        model.requires_grad_(True)
    with intercept():
        found = outcome(run(ours), ours, x)
    assert_equal(found, outcome(run(theirs), theirs, x))


def outcome(call, model: nn.Module, x: Tensor) -> list[Tensor]:
    torch.manual_seed(0)
    y = call(x)
    model.zero_grad()
    y.square().sum().backward()
    return [y.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("context", [nullcontext, intercept])
def test_compiled_networks_are_equal(name, context):
    torch._dynamo.reset()
    ours, theirs = pair(name)
    ours.compile(backend="aot_eager")
    with context():
        found = step(ours, batch())
    assert_equal(found, step(theirs, batch()))


class Named(nn.Module):
    """A network that calls functions by their names alone, so that nothing of it can be converted."""

    def __init__(self):
        super().__init__()
        self.filters = nn.Parameter(torch.randn(4, 3, 3, 3))
        self.weight = nn.Parameter(torch.randn(3, 4, 5))

    def forward(self, x: Tensor) -> Tensor:
        y = functional.max_pool2d(torch.relu(functional.conv2d(x, self.filters, padding=1)), 2)
        y = torch.conv1d(functional.gelu(functional.group_norm(y, 2)).flatten(2), self.weight, stride=2)
        return y.softmax(1) * torch.sigmoid(y).tanh()


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("make", [Named, lambda: models.convnext.CNBlock(3, 1.0, 0.0)], ids=["named", "block"])
def test_graphs_compiled_while_intercepting_are_equal_and_pure(make, checkpointed):
    def outcome_of(model: nn.Module, compiler) -> list[Tensor]:
        def call(x: Tensor) -> Tensor:
            return checkpoint(model, x, use_reentrant=False) if checkpointed else model(x)

        return outcome(compiler(call), model, batch())

    kernels: list[str] = []

    def record(graph: torch.fx.GraphModule, inputs: list[Tensor]):
        kernels.extend(str(node.target) for node in graph.graph.nodes if NETWORK.search(str(node.target)))
        return make_boxed_func(graph)

    def compiled(call):
        return torch.compile(call, backend=aot_autograd(fw_compiler=record, bw_compiler=record), fullgraph=True)

    torch._dynamo.reset()
    torch.manual_seed(0)
    theirs = make().double()
    ours = copy.deepcopy(theirs)
    convert(ours)
    with intercept():
        found = outcome_of(ours, compiled)
    assert [kernel for kernel in kernels if kernel.startswith("aten.")] == []
    assert_equal(found, outcome_of(theirs, compiled))
    assert kernels  # the original's


@pytest.mark.parametrize("name", ["mobilenet_v2", "convnext_tiny", "shufflenet_v2_x0_5"])
def test_exported_networks_are_equal(name):
    ours, theirs = (model.eval() for model in pair(name))
    program = export(ours, (batch(),))
    assert_equal([program.module()(batch())], [theirs(batch())])


@pytest.mark.parametrize("wrapped", ["DistributedDataParallel", "fully_shard"])
@pytest.mark.parametrize("name", ["mobilenet_v2", "convnext_tiny"])
def test_distributed_networks_are_equal(name, wrapped, tmp_path):
    multiprocessing.spawn(distributed, (name, wrapped, str(tmp_path / "meeting")), nprocs=2)


def distributed(rank: int, name: str, wrapped: str, meeting: str) -> None:
    """Trains in one of two processes that see the same images."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=2, timeout=timedelta(minutes=2)
    )
    sides = []
    for model in pair(name):
        if wrapped == "fully_shard":
            mesh = init_device_mesh("cpu", (2,))
            for child in model.children():
                if list(child.parameters()):
                    fully_shard(child, mesh=mesh)
            sides.append(fully_shard(model, mesh=mesh))
        else:
            sides.append(DistributedDataParallel(model))
    ours, theirs = sides
    with intercept():
        found = step(ours, batch())
    assert_equal(found, step(theirs, batch()))
    dist.barrier()
    os._exit(0)  # gloo's threads can end the interpreter with SIGABRT
