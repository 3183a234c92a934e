"""Tiles cover each element once whatever the layout, and activations come out of them as out of the plain form."""

from __future__ import annotations

import math

import pytest
import torch

from scratchnet import functional
from scratchnet.function import pointwise
from scratchnet.tiling import tiles

INF, NAN = math.inf, math.nan
SPECIAL = [0.0, -0.0, INF, -INF, NAN, -NAN, 1.0, -1.0, 3.0, -3.0, 0.5, -0.5, 6.0, 100.0, -100.0, 20.0, 1e-40]

LAYOUTS = {
    "dense": lambda x: x,
    "transposed": lambda x: x.permute(3, 1, 0, 2),
    "sliced": lambda x: x[:, :, ::2],
    "channels last": lambda x: x.to(memory_format=torch.channels_last),
    "expanded": lambda x: x[:1].expand(6, *x.shape[1:]),
    "one number": lambda x: x[0, 0, 0, 0].expand(x.shape),
    "empty": lambda x: x[:0],
    "one element": lambda x: x[:1, :1, :1, :1],
}


@pytest.mark.parametrize("size", [1, 3, 7, 60, 1000])
@pytest.mark.parametrize("second", LAYOUTS)
@pytest.mark.parametrize("first", LAYOUTS)
def test_tiles_meet_the_same_elements_of_every_tensor_once(first, second, size):
    a = LAYOUTS[first](torch.arange(360.0).reshape(6, 5, 4, 3))
    b = torch.zeros_like(a)
    other = LAYOUTS[second](-torch.arange(360.0).reshape(6, 5, 4, 3))
    if other.shape != a.shape:
        return
    total = torch.empty_like(a)
    for out, x, y, seen in tiles.tiles([total, a, other, b], size):
        assert out.numel() <= size
        torch.add(x, y, out=out)
        seen.add_(1)
    assert torch.equal(total, a + other)
    assert bool((b == 1).all())


OPTIONS = {
    "celu": [{"alpha": 0.5}],
    "elu": [{}, {"alpha": -0.5}],
    "gelu": [{}, {"approximate": "tanh"}],
    "glu": [{}, {"dim": 0}],
    "hardshrink": [{}, {"lambd": 0.0}, {"lambd": -1.0}],
    "hardsigmoid": [{}],
    "hardswish": [{}],
    "hardtanh": [{}, {"min_val": -0.5, "max_val": 2.0}],
    "leaky_relu": [{}, {"negative_slope": 0.0}, {"negative_slope": -2.0}],
    "logsigmoid": [{}],
    "mish": [{}],
    "relu": [{}],
    "relu6": [{}],
    "selu": [{}],
    "sigmoid": [{}],
    "silu": [{}],
    "softplus": [{}, {"beta": 2.0, "threshold": 1.0}],
    "softshrink": [{}, {"lambd": 0.0}],
    "softsign": [{}],
    "tanh": [{}],
    "tanhshrink": [{}],
    "threshold": [{"threshold": 0.5, "value": -2.0}],
    "learned_elu": [{"alpha": torch.tensor([0.5])}],
    "prelu": [{"weight": torch.linspace(-1, 1, 66)}, {"weight": torch.tensor([0.25])}],
}
CASES = [pytest.param(n, o, id=f"{n}-{i}") for n, listed in OPTIONS.items() for i, o in enumerate(listed)]


def strides(x):
    return [stride for stride, size in zip(x.stride(), x.shape, strict=True) if size > 1]


def outputs_and_gradients(name, x, options, tiled):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "PER_THREAD", 500)
        patch.setattr(tiles, "ALONE", 500)
        if not tiled:
            patch.setattr(pointwise, "tilewise", lambda *tensors, **options: None)
        leaves = [t.detach().to(x.dtype).requires_grad_() for t in options.values() if isinstance(t, torch.Tensor)]
        others = {k: v for k, v in options.items() if not isinstance(v, torch.Tensor)}
        leaf = x.detach().requires_grad_()
        y = getattr(functional, name)(leaf, *leaves, **others)
        grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(0)).to(x.dtype)
        grad.view(-1)[20:26] = torch.tensor([INF, -INF, NAN, INF, NAN, 0.0])
        kept = grad.clone()
        found = [y, *torch.autograd.grad(y, [leaf, *leaves], grad)]
        torch.testing.assert_close(grad, kept, rtol=0, atol=0, equal_nan=True)
        return found


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_activations_come_out_of_tiles_as_out_of_the_plain_form(name, options, dtype):
    generator = torch.Generator().manual_seed(1)
    dense = torch.randn(4, 66, 10, generator=generator).mul(2).to(dtype)
    dense.view(-1)[: len(SPECIAL)] = torch.tensor(SPECIAL)
    for x in (dense, dense.permute(2, 1, 0), dense[::2], dense[:1].expand(4, 66, 10)):
        tiled, plain = (outputs_and_gradients(name, x, options, t) for t in (True, False))
        for a, b in zip(tiled, plain, strict=True):
            torch.testing.assert_close(a, b, equal_nan=True)
            assert strides(a) == strides(b)


def test_a_lost_tile_is_caught(monkeypatch):
    whole = tiles.tiles
    monkeypatch.setattr(tiles, "tiles", lambda tensors, size: list(whole(tensors, size))[:-1])
    monkeypatch.setattr(torch, "empty_like", torch.zeros_like)
    with pytest.raises(AssertionError):
        test_activations_come_out_of_tiles_as_out_of_the_plain_form("tanh", {}, torch.float32)


def test_what_is_not_plain_numbers_is_left_alone():
    class Mine(torch.Tensor):
        pass

    x = torch.randn(4)
    assert torch.equal(tiles.tilewise(torch.exp, (x,), {}), torch.exp(x))
    assert tiles.tilewise(torch.exp, (x.as_subclass(Mine),), {}) is None
    assert tiles.tilewise(torch.add, (x, x[:1]), {}) is None
    assert tiles.tilewise(torch.exp, (x.to(torch.int32),), {}) is None
    assert tiles.tilewise(torch.exp, (x.to("meta"),), {}) is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", ["dense", "transposed", "empty", "expanded"])
def test_low_precision_is_computed_in_float32_tile_by_tile(monkeypatch, dtype, layout):
    x, v = (LAYOUTS[layout](torch.randn(6, 5, 4, 3).to(dtype)) for _ in range(2))
    expected = _tilted(x.float(), v.float()).to(dtype)
    seen = []
    run = tiles._run
    monkeypatch.setattr(
        tiles, "_run", lambda *given: seen.append((given[2].numel(), given[2].dtype)) or run(*given)
    )
    for size in (7, 1000):
        monkeypatch.setattr(tiles, "ALONE", size)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
        assert torch.equal(tiles.tilewise(_tilted, (x, v), {}), expected)
    assert all(count <= 1000 and wide is torch.float32 for count, wide in seen)
    assert layout == "empty" or min(seen)[0] <= 7


def _tilted(x, v):
    return torch.exp(torch.mul(1 / (1 + torch.exp(-x)), v))


def test_a_function_that_returns_none_has_no_tiles():
    assert tiles.tilewise(lambda x: None, (torch.zeros(3),), {}) is None
