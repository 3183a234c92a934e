"""Edges that samples seldom touch: padding under NaN, windows beside the input, sizes that stay, autocast, int32."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from scratchnet import functional, nn

DTYPES = (torch.float32, torch.float64)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("options", [(3, 1, 1, 1), (3, 2, 1, 1), (3, 1, 2, 2), (1, 1, 1, 1), (2, 1, 1, 1)])
def test_convolution_does_not_multiply_padding(dims, groups, options):
    kernel, *lie = options
    convolve = getattr(functional, f"conv{dims}d")
    for dtype in DTYPES:
        x = torch.randn(2, 4, *(7, 9, 6)[:dims], dtype=dtype).requires_grad_()
        weight = torch.randn(4, 4 // groups, *(kernel,) * dims, dtype=dtype).requires_grad_()
        broken, place = weight.detach().clone(), torch.zeros_like(weight)
        broken.view(-1)[0], place.view(-1)[0] = float("nan"), 1
        seen = convolve(torch.ones_like(x), place, None, *lie, groups)
        assert torch.equal(convolve(x, broken, None, *lie, groups).isnan(), seen > 0)
        y = convolve(x, weight, None, *lie, groups)
        upstream, place = torch.randn_like(y), torch.zeros_like(y)
        upstream.view(-1)[0], place.view(-1)[0] = float("nan"), 1
        ones = [torch.ones_like(t).requires_grad_() for t in (x, weight)]
        seen_by = torch.autograd.grad(convolve(*ones, None, *lie, groups), ones, place)
        for create_graph in (False, True):
            found = torch.autograd.grad(y, (x, weight), upstream, create_graph=create_graph, retain_graph=True)
            assert all(torch.equal(grad.isnan(), s > 0) for grad, s in zip(found, seen_by, strict=True))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_window_beside_the_input_sends_nothing_back(dims):
    pool = getattr(functional, f"max_pool{dims}d")
    x = torch.randn(1, 2, *(2, 3, 5)[:dims], dtype=torch.float64, requires_grad=True)
    y, indices = pool(x, 2, stride=1, padding=2, dilation=3, return_indices=True)
    beside = y.isneginf()
    assert beside.any()
    assert torch.equal(beside, indices == -1)
    (grad,) = torch.autograd.grad(y[~beside].sum(), x, retain_graph=True)
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], grad)
    tangent = torch.func.jvp(lambda x: pool(x, 2, 1, 2, 3), (x.detach(),), (torch.ones_like(x),))[1]
    assert torch.equal(tangent, (~beside).double())


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic", "area"])
def test_interpolate_to_its_own_size_is_transformed(mode):
    x = torch.randn(2, 1, 1, 3, 2)

    def same(x):
        return functional.interpolate(x, size=(3, 2), mode=mode)

    assert torch.equal(torch.func.vmap(same)(x), x)
    assert torch.equal(torch.func.grad(lambda x: same(x).sum())(x[0]), torch.ones_like(x[0]))
    assert torch.equal(torch.func.jvp(same, (x[0],), (x[0],))[1], x[0])


@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}, {"proj_size": 2}], ids=str)
@pytest.mark.parametrize("packed", [False, True])
def test_recurrent_networks_have_the_dtypes_of_autocast(kind, options, packed):
    if "proj_size" in options and kind != "LSTM":
        options = {"batch_first": True}
    x, found = torch.randn(5, 5, 3), []
    for module in (nn, torch.nn):
        network = getattr(module, kind)(3, 4, **options)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y, state = network(pack_padded_sequence(x, [5, 3, 3, 2, 1]) if packed else x)
        states = state if isinstance(state, tuple) else (state,)
        found.append([t.dtype for t in (y.data if packed else y, *states)])
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["embedding", "embedding_bag"])
def test_max_norm_takes_int32(name):
    tables = [torch.randn(3, 4, generator=torch.Generator().manual_seed(0)) for _ in range(2)]
    indices = torch.tensor([[0, 2], [2, 2]], dtype=torch.int32)
    ours = getattr(functional, name)(indices, tables[0], max_norm=1.0)
    expected = getattr(torch.nn.functional, name)(indices, tables[1], max_norm=1.0)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(*tables)
