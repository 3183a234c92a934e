"""The workloads, and the bytes that a pass moves and saves."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from reference.catalog import RECORDS, Sample
from reference.speed.memory import peak_bytes, saved_bytes
from reference.speed.targets import ANY, TARGETS
from reference.speed.workload import Candidate, OpPass, op_workload
from reference.speed.workloads import WORKLOADS, layer_shapes

FIRST = {w.op: w for w in reversed(WORKLOADS) if not w.op.endswith(" step")}


def test_every_op_of_the_catalog_is_timed():
    assert set(RECORDS) <= {w.op for w in WORKLOADS}


def test_workload_names_are_unique():
    assert len({(w.op, w.size) for w in WORKLOADS}) == len(WORKLOADS)


def test_the_targets_name_workloads_that_exist():
    named = {key for target in TARGETS for key in target.keys}
    assert named - {(layer_shapes.OP, ANY)} <= {(w.op, w.size) for w in WORKLOADS}


@pytest.mark.slow
def test_layer_shapes_are_those_of_the_networks():
    workloads = list(layer_shapes.workloads())
    assert len({w.size for w in workloads}) == len(workloads) == 450
    assert "batch 2 (64,16,16)·64·3×3" in {w.size for w in workloads}  # resnet18
    assert "batch 64 (96,16,16)·96·7×7 groups=96" in {w.size for w in workloads}  # convnext_tiny
    for workload in workloads[:8]:
        assert workload.compare().ok


@pytest.mark.filterwarnings("ignore:.*deprecated:UserWarning")
@pytest.mark.parametrize("workload", [w for op, w in FIRST.items() if op not in ("SGD", "Adam", "AdamW")], ids=str)
def test_both_sides_run_on_the_same_inputs(workload):
    ours, theirs = (workload.prepare(Candidate(side)) for side in ("custom", "builtin"))
    # Not bit for bit: each side has updated its running statistics with a batch.
    torch.testing.assert_close(ours.tensors, theirs.tensors)
    assert [g is None for g in ours.grads] == [g is None for g in theirs.grads]


def test_channels_last_reaches_image_and_kernel():
    def sample(make):
        return Sample((make.normal(1, 2, 4, 4), make.normal(3, 2, 3, 3), make.normal(3)))

    workload = op_workload("conv2d", "two channels", sample, layouts=True)
    run = workload.prepare(Candidate("custom", channels_last=True))
    image, kernel = run.tensors[:2]
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    assert not kernel.is_contiguous()
    run.forward()
    assert run.outputs[0].is_contiguous(memory_format=torch.channels_last)
    assert image.requires_grad


def test_bytes_that_a_pass_moves_saves_and_holds():
    x = torch.randn(64, 64, requires_grad=True)
    run, bytes_of_x = OpPass(torch.exp, (x,), {}), x.numel() * 4
    assert saved_bytes(run) == (bytes_of_x, 0)
    assert run.moved(saved=10) == (2 * bytes_of_x, 2 * bytes_of_x + 10)
    assert saved_bytes(OpPass(lambda x: (2 * x).exp() * x, (x,), {})) == (2 * bytes_of_x, bytes_of_x)
    # The output and the gradient.
    assert peak_bytes(run) == 2 * bytes_of_x


def test_parameters_are_not_counted_as_saved():
    layer = torch.nn.Linear(256, 256)
    x = torch.randn(2, 256, requires_grad=True)
    assert saved_bytes(OpPass(layer, (x,), {})).all == x.numel() * 4
    assert saved_bytes(OpPass(F.linear, (x, layer.weight, layer.bias), {})).all > 256 * 256 * 4


def test_an_op_without_gradients_has_no_backward():
    run = op_workload("one_hot", "3", lambda make: Sample((torch.arange(3), 4))).prepare(Candidate("custom"))
    assert run.moved(saved=0)[1] == 0
    run.forward()
    run.backward()
    assert run.grads == ()
