"""Every op runs under torch's tracers wherever the built-in does, at sizes that were not traced too."""

from __future__ import annotations

import pytest
import torch
from torch import fx

from reference.catalog import RECORDS
from reference.tracers import TRACERS, traced
from scratchnet import nn

CHEAP = ("fx", "jit.trace", "fake tensors")
# Ours walk through time in a loop, which a trace unrolls: the number of steps is that of the traced call.
UNROLLED = ("RNN", "LSTM", "GRU", "ctc_loss")
# A dynamic number of kernels in groups: the batch stays dynamic, the number of kernels does not.
GROUPED = ("conv1d", "conv2d", "conv3d", "conv2d_relu", "conv2d_relu_max_pool2d")


@pytest.mark.parametrize("tracer", CHEAP)
@pytest.mark.parametrize("name", RECORDS)
def test_tracers_do_what_they_do_with_the_built_in(name, tracer):
    found = traced(RECORDS[name], TRACERS[tracer])
    if name in UNROLLED and tracer == "jit.trace":
        assert found.startswith(("every first size", "batch"))  # time comes first
    else:
        assert found in ("works", "works alone", "-")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tracer", [t for t in TRACERS if t.startswith("export")])
@pytest.mark.parametrize("name", RECORDS)
def test_exports_do_what_they_do_with_the_built_in(name, tracer):
    found = traced(RECORDS[name], TRACERS[tracer])
    if name in GROUPED and tracer == "export, dynamic batch":
        assert found.startswith("every first size")
    else:
        assert found in ("works", "works alone", "-")


def test_fx_takes_modules_for_leaves_as_it_does_those_of_torch():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LSTM(16, 2)).eval()
    graph = fx.symbolic_trace(net)
    kinds = [type(graph.get_submodule(n.target)) for n in graph.graph.nodes if n.op == "call_module"]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Flatten, nn.LSTM]
    images = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(graph(images)[0], net(images)[0])
