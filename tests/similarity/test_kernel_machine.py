"""Support vector machines learn what they should: a line, and what no line separates."""

from __future__ import annotations

import copy

import pytest
import torch

from reference.catalog import kernels
from scratchnet import functional
from scratchnet.functional import multi_margin_loss, rbf_kernel
from scratchnet.nn import KernelSVM, LinearSVM


def trained(machine, x, y, strength=1e-3, steps=80):
    optimizer = torch.optim.SGD(machine.parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        (multi_margin_loss(machine(x), y) + strength * machine.penalty()).backward()
        optimizer.step()
    return (machine.predict(x) == y).double().mean().item()


def ring():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(80, 2, generator=generator)
    return x, (x.norm(dim=1) > 1).long()


def test_a_linear_machine_separates_three_clouds():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 3
    x = torch.tensor([[0.0, 3.0], [3.0, -2.0], [-3.0, -2.0]])[y] + torch.randn(60, 2, generator=generator)
    assert trained(LinearSVM(2, 3), x, y) > 0.95


def test_a_kernel_separates_what_no_line_does():
    x, y = ring()
    assert trained(LinearSVM(2, 2), x, y) < 0.8
    for kernel in ("rbf", "polynomial"):
        machine = KernelSVM(x, 2, kernel, gamma=0.5, degree=2, learn_gamma=True)
        assert trained(machine, x, y, strength=1e-4) > 0.9
        assert machine.gamma.item() != 0.5
    assert 0 < machine.support().sum() <= 80


def test_the_linear_kernel_has_the_linear_machines_penalty():
    x = ring()[0].double()  # in float32 an output near 0 has lost its digits, more or fewer from draw to draw
    kernel, line = KernelSVM(x, 2, "linear").double(), LinearSVM(2, 2).double()
    torch.nn.init.normal_(kernel.weight, generator=torch.Generator().manual_seed(0))
    line.weight.data = (kernel.weight @ x).detach()
    torch.testing.assert_close(kernel(x), line(x))
    torch.testing.assert_close(kernel.penalty(), line.penalty())


def test_state_travels():
    x, _ = ring()
    machine, other = KernelSVM(x, 2, gamma=0.3), KernelSVM(torch.zeros(80, 2), 2)
    other.load_state_dict(machine.state_dict())
    torch.testing.assert_close(other.similarity(x), copy.deepcopy(machine).similarity(x))
    assert repr(machine) == "KernelSVM(anchors=80, in_features=2, num_classes=2, kernel='rbf')"


def test_distances_are_the_same_in_blocks():
    x, y = torch.randn(600, 5), torch.randn(900, 5)
    whole = torch.exp(-0.1 * (x[:, None] - y).square().sum(2))
    torch.testing.assert_close(rbf_kernel(x, y, 0.1), whole)


@pytest.mark.parametrize("dtypes", [(torch.float32,) * 2, (torch.bfloat16, torch.float32), (torch.bfloat16,) * 2])
@pytest.mark.parametrize("name", ["linear", "polynomial", "rbf"])
def test_autocast_gives_the_dtype_of_the_composition(name, dtypes):
    op, composition = getattr(functional, f"{name}_kernel"), getattr(kernels, f"{name}_composed")
    x, y = (torch.randn(3, 2, dtype=dtype) for dtype in dtypes)
    with torch.autocast("cpu", torch.bfloat16):
        ours, composed = op(x, y), composition(x, y)
    assert ours.dtype is composed.dtype
    # In bfloat16 the composition rounds between its ops: by 0.027 of one and the value, at most, in 200 draws.
    torch.testing.assert_close(ours, composed, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("options", "error"),
    [({"kernel": "cubic"}, ValueError), ({"gamma": 0.0}, ValueError), ({"anchors": torch.zeros(3)}, RuntimeError)],
)
def test_bad_machines_are_refused(options, error):
    with pytest.raises(error, match="KernelSVM: expected"):
        KernelSVM(**{"anchors": torch.zeros(3, 2), "num_classes": 2} | options)
