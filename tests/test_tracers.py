"""Every op runs under torch's tracers wherever the built-in does, also at sizes other than the traced ones."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import fx

from reference.catalog import RECORDS, Make
from reference.tracers import TRACERS, traced
from scratchnet import functional, nn

CHEAP = ("fx", "jit.trace", "fake tensors")
# Ours loop over time, and a trace unrolls the loop: the number of steps is fixed.
UNROLLED = ("RNN", "LSTM", "GRU", "ctc_loss")
# With grouped kernels, the batch stays dynamic but the number of kernels does not.
GROUPED = ("conv1d", "conv2d", "conv3d", "conv2d_relu")


@pytest.mark.parametrize("tracer", CHEAP)
@pytest.mark.parametrize("name", RECORDS)
def test_tracers_work_as_with_the_built_in(name, tracer):
    found = traced(RECORDS[name], TRACERS[tracer])
    if name in UNROLLED and tracer == "jit.trace":
        assert found.startswith(("every first size", "batch"))  # the first dimension is time
    else:
        assert found in ("works", "works alone", "-")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tracer", [t for t in TRACERS if t.startswith("export")])
@pytest.mark.parametrize("name", RECORDS)
def test_exports_work_as_with_the_built_in(name, tracer):
    found = traced(RECORDS[name], TRACERS[tracer])
    if name in GROUPED and tracer == "export, dynamic batch":
        assert found.startswith("every first size")
    else:
        assert found in ("works", "works alone", "-")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [f"{kind}_pool{d}d" for kind in ("avg", "lp", "max") for d in (1, 2, 3)])
@pytest.mark.parametrize("windows", [(2, 3), (3, 2), (3, 2, 1)], ids=str)
def test_traced_pooling_in_ceil_mode_takes_other_sizes(name, windows):
    if name.startswith("lp"):
        windows = (3.0, *windows[:2])

    def pool(x):
        return getattr(functional, name)(x, *windows, ceil_mode=True)

    dims = int(name[-2])
    for traced_size in (6, 7):
        graph = torch.jit.trace(pool, torch.rand(2, 3, *(traced_size,) * dims), check_trace=False)
        for size in range(4, 10):
            x = torch.rand(2, 3, *(size,) * dims)
            torch.testing.assert_close(graph(x), pool(x))


WIDTHS = [(1, 1), (-1, 2), (-1, -1), (0, 3), (2, 1, -2, 1)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_traced_padding_takes_other_sizes(mode, widths):
    class Padded(torch.nn.Module):
        def forward(self, x):
            return functional.pad(x, widths, mode=mode)

    x, other = torch.randn(2, 3, 6), torch.randn(3, 2, 8)
    if len(widths) == 4:
        x, other = x[None].repeat(2, 1, 2, 1), other[None].repeat(3, 1, 3, 1)
    wanted = torch.nn.functional.pad(other, widths, mode=mode)
    dims = dict.fromkeys(range(x.dim()), torch.export.Dim.AUTO)
    program = torch.export.export(Padded(), (x,), dynamic_shapes=(dims,)).module()
    for graph in (torch.jit.trace(Padded(), x, check_trace=False), program):
        assert torch.equal(graph(other), wanted)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear"])
def test_strict_export_leaves_the_sizes_of_interpolation_dynamic(mode):
    class Doubled(torch.nn.Module):
        def forward(self, x):
            return functional.interpolate(x, size=2 * x.shape[2], mode=mode)

    dims = dict.fromkeys(range(3), torch.export.Dim.AUTO)
    program = torch.export.export(Doubled(), (torch.randn(2, 3, 6),), dynamic_shapes=(dims,), strict=True)
    other = torch.randn(4, 5, 9)
    torch.testing.assert_close(program.module()(other), torch.nn.functional.interpolate(other, size=18, mode=mode))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("last", [False, True])
def test_traced_embedding_bag_takes_offsets(last):
    def bags(indices, table, offsets):
        return functional.embedding_bag(indices, table, offsets, include_last_offset=last)

    sizes = (torch.tensor([0, 2, 1]), torch.tensor([0, 2, 3])), (torch.arange(5) % 4, torch.tensor([0, 1, 3, 5]))
    table = torch.randn(4, 3)
    graph = torch.jit.trace(bags, (sizes[0][0], table, sizes[0][1]), check_trace=False)
    for indices, offsets in sizes:
        torch.testing.assert_close(graph(indices, table, offsets), bags(indices, table, offsets))


def test_fx_treats_modules_as_leaves():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LSTM(16, 2)).eval()
    graph = fx.symbolic_trace(net)
    kinds = [type(graph.get_submodule(n.target)) for n in graph.graph.nodes if n.op == "call_module"]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Flatten, nn.LSTM]
    images = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(graph(images)[0], net(images)[0])


def same_tensor_twice(record):
    """Returns a call of the custom side whose second tensor is the first, or None where no sample allows it."""
    for sample in record.samples(Make(torch.float32)):
        first, *rest = sample.inputs
        for i, x in enumerate(rest, 1):
            tensors = isinstance(x, torch.Tensor) and isinstance(first, torch.Tensor)
            if tensors and x.dtype == first.dtype and x.shape == first.shape and x.numel():
                inputs = (*sample.inputs[:i], first, *sample.inputs[i + 1 :])
                return partial(record.sides(sample)[0], *inputs, **sample.options)
    return None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in RECORDS if name not in ("SGD", "Adam", "AdamW")])
def test_compiled_ops_take_a_tensor_twice(name):
    call = same_tensor_twice(RECORDS[name])
    try:
        expected = call and call()
    except (TypeError, ValueError, RuntimeError):  # a target that requires grad, or must be a label
        expected = None
    if expected is not None:
        torch._dynamo.reset()
        torch.manual_seed(0)
        found = torch.compile(call, fullgraph=True, backend="eager")()
        torch.manual_seed(0)
        torch.testing.assert_close(found, call(), equal_nan=True)


def test_compiled_self_attention_has_no_graph_breaks():
    torch._dynamo.reset()
    x = torch.randn(2, 3, 4, 8)
    attend = torch.compile(functional.scaled_dot_product_attention, fullgraph=True, backend="eager")
    torch.testing.assert_close(attend(x, x, x), functional.scaled_dot_product_attention(x, x, x))
