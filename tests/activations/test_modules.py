"""The modules of the activations compute what PyTorch's compute, and hold what theirs hold."""

from __future__ import annotations

import pytest
import torch

from reference.catalog import activations, hard, rectifiers, shrinkage
from scratchnet import functional, nn

PAIRS = [
    pytest.param(ours, theirs, id=f"{record.name}-{i}")
    for record in (*activations.RECORDS, *rectifiers.RECORDS, *hard.RECORDS, *shrinkage.RECORDS)
    for i, (ours, theirs) in enumerate(record.modules)
    if record.name != "prelu"  # whose parameter is for 1 or 3 channels
]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_the_same_output_and_gradient(ours, theirs):
    results = []
    for module in (ours(), theirs()):
        leaf = torch.randn(2, 4, 3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
        torch.manual_seed(0)
        y = module(leaf * 2)
        upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
        results.append((y.detach(), *torch.autograd.grad(y, leaf, upstream)))
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_tensors_without_data_pass(ours, theirs):
    leaf = torch.empty(2, 4, 3, 4, device="meta", dtype=torch.bfloat16, requires_grad=True)
    y = ours()(leaf * 2)
    expected = theirs().to_empty(device="meta")(leaf * 2)
    assert (y.shape, y.dtype, y.device) == (expected.shape, expected.dtype, expected.device)
    (grad,) = torch.autograd.grad(y, leaf, torch.empty_like(y))
    assert (grad.shape, grad.dtype) == (leaf.shape, leaf.dtype)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_the_same_constants_and_attributes(ours, theirs):
    mine, builtin = ours(), theirs()
    assert set(getattr(mine, "__constants__", [])) == set(getattr(builtin, "__constants__", []))
    public = {name: value for name, value in vars(builtin).items() if not name.startswith("_")}
    assert {name: value for name, value in vars(mine).items() if not name.startswith("_")} == public


def test_softmax2d_normalises_the_channels_of_images_alone():
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(nn.Softmax2d()(x).sum(1), torch.ones(2, 4, 5))
    torch.testing.assert_close(nn.Softmax2d()(x[0]), torch.nn.Softmax2d()(x[0]))
    for shape in ((3,), (2, 3), (1, 2, 3, 4, 5)):
        for kind in (nn.Softmax2d, torch.nn.Softmax2d):
            with pytest.raises(ValueError, match="Softmax2d: expected input"):
                kind()(torch.zeros(shape))


@pytest.mark.parametrize("kind", [nn.Hardtanh, torch.nn.Hardtanh])
def test_hardtanh_takes_its_old_names_and_warns(kind):
    with pytest.warns(FutureWarning, match="min_val"):
        module = kind(min_value=-2.0)
    with pytest.warns(FutureWarning, match="max_val"):
        other = kind(max_value=3.0)
    assert (module.min_val, module.max_val, other.min_val, other.max_val) == (-2.0, 1.0, -1.0, 3.0)


@pytest.mark.parametrize("kind", [nn.Hardtanh, torch.nn.Hardtanh])
def test_hardtanh_without_room_between_its_ends_is_refused(kind):
    with pytest.raises(AssertionError):
        kind(1.0, 1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_of_a_learned_elu_widens_to_its_parameter(dtype):
    module, x = nn.LearnedELU(3), torch.randn(2, 3).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        ours, composed = module(x), rectifiers.learned_elu_composed(x, module.alpha)
    assert ours.dtype is composed.dtype is torch.float32
    # The composition rounds exp(x) - 1 to bfloat16, which makes 0.002 here.
    torch.testing.assert_close(ours, composed, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("low", [-1e30, -200, -1.5, -0.5, 0, 2.5, 300, float("-inf"), float("nan")])
@pytest.mark.parametrize("high", [-0.5, 0.5, 3.5, 300, 1e19, float("inf")])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64], ids=str)
def test_hardtanh_of_integers_takes_the_ends_that_they_hold(dtype, low, high):
    x = torch.tensor([-4, -1, 0, 1, 5]).to(dtype)
    try:
        expected = torch.nn.functional.hardtanh(x, low, high)
    except (RuntimeError, ValueError):
        with pytest.raises((RuntimeError, ValueError), match="hardtanh: expected"):
            functional.hardtanh(x, low, high)
    else:
        assert torch.equal(functional.hardtanh(x, low, high), expected)


def test_relu6_is_a_hardtanh():
    assert isinstance(nn.ReLU6(), nn.Hardtanh)


@pytest.mark.parametrize("kind", [nn.Softmin, nn.Softmax, nn.LogSoftmax])
def test_a_missing_dimension_warns_where_the_user_called(kind):
    with pytest.warns(UserWarning, match="dim") as caught:
        kind()(torch.zeros(2, 3))
    assert caught[0].filename == torch.nn.modules.module.__file__ or caught[0].filename == __file__
