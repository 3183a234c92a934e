"""Networks of torchvision train equally with our modules and with torch's."""

from __future__ import annotations

import copy
import os

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, multiprocessing
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.export import Dim, export

from experiments.data.vision import models
from scratchnet import convert

# Each network takes images of at least 64 pixels; the networks have torchvision's sizes.
NETWORKS = {
    "resnet18": {},
    "mobilenet_v3_small": {},
    "densenet121": {},
    "convnext_tiny": {},
    "vit_b_16": {"image_size": 64},
    "swin_t": {},
}
TRACED = ("resnet18", "mobilenet_v3_small")
pytestmark = pytest.mark.slow


def network(name: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Returns a converted network and the original."""
    torch.manual_seed(0)
    theirs = getattr(models, name)(num_classes=10, **NETWORKS[name]).double()
    ours = copy.deepcopy(theirs)
    convert(ours)
    return ours, theirs


def batch(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 3, 64, 64, generator=generator, dtype=torch.float64)
    return images, torch.randint(10, (count,), generator=generator)


def full(tensor: Tensor) -> Tensor:
    return getattr(tensor, "full_tensor", tensor.clone)().detach()


def five_steps(model: torch.nn.Module, images: Tensor, labels: Tensor) -> list[Tensor]:
    """Returns outputs, losses and gradients of five steps, and the final state."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    found = []
    for step in range(5):
        torch.manual_seed(step)  # for dropout and stochastic depth
        optimizer.zero_grad()
        scores = model(images)
        loss = torch.nn.functional.cross_entropy(scores, labels)
        loss.backward()
        optimizer.step()
        found += [scores.detach(), loss.detach(), *(full(p.grad) for p in model.parameters())]
    return found + [full(x) for x in model.state_dict().values()]


def assert_equal(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
# One at a time: two networks of 86 million parameters with their gradients and momenta take 6 GB.
@pytest.mark.xdist_group("memory")
@pytest.mark.parametrize("name", NETWORKS)
def test_five_steps_match_torch(name, training):
    ours, theirs = (five_steps(model.train(training), *batch(2)) for model in network(name))
    assert_equal(ours, theirs)


@pytest.mark.filterwarnings("ignore")  # torch's compiler raises warnings of its own
@pytest.mark.parametrize("name", TRACED)
def test_five_compiled_steps_match_torch(name):
    ours, theirs = network(name)
    ours.compile(fullgraph=True)
    assert_equal(*(five_steps(model, *batch(2)) for model in (ours, theirs)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", TRACED)
def test_exported_program_takes_other_batch_sizes(name, training):
    ours, theirs = (model.train(training) for model in network(name))
    program = export(ours, batch(2)[:1], dynamic_shapes=({0: Dim.DYNAMIC},)).module()
    images, _ = batch(5)
    torch.manual_seed(0)
    scores = program(images)
    torch.manual_seed(0)
    assert_equal([scores], [theirs(images)])


@pytest.mark.parametrize("name", TRACED)
def test_five_sharded_steps_match_torch(name, tmp_path):
    multiprocessing.spawn(sharded, (name, str(tmp_path / "meeting")), nprocs=2)


def sharded(rank: int, name: str, meeting: str) -> None:
    """Trains in one of two processes, each of which holds half of every parameter and sees the same images."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    ours, theirs = network(name)
    for model in (ours, theirs):
        for child in model.children():
            if list(child.parameters()):
                fully_shard(child, mesh=mesh)
        fully_shard(model, mesh=mesh)
    assert_equal(*(five_steps(model, *batch(2)) for model in (ours, theirs)))
    dist.barrier()
    os._exit(0)  # gloo's threads can end the interpreter with SIGABRT
