"""Jagged nested tensors: results equal the built-in's on each sequence, or an error says why not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from scratchnet import functional, nn

LENGTHS = (2, 5, 3)
pytestmark = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")


def ragged(width: int = 8, seed: int = 0) -> Tensor:
    """Returns sequences of vectors, differentiable."""
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randn(n, width, generator=generator, dtype=torch.float64) for n in LENGTHS]
    return torch.nested.nested_tensor(parts, layout=torch.jagged, requires_grad=True)


def table(*shape: int) -> Tensor:
    """Returns weights, the same each time."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)


ELEMENTWISE = (
    "relu relu6 leaky_relu elu celu selu gelu silu mish hardtanh sigmoid tanh softsign softplus logsigmoid"
)
CALLS = {
    **{name: lambda F, x, w, name=name: getattr(F, name)(x) for name in ELEMENTWISE.split()},
    "linear": lambda F, x, w: F.linear(x, w),
    "layer_norm": lambda F, x, w: F.layer_norm(x, (8,), w[0]),
    "layer_norm of two": lambda F, x, w: F.layer_norm(x.unflatten(-1, (2, 4)), (2, 4)),
    "rms_norm": lambda F, x, w: F.rms_norm(x, (8,), w[0]),
    "softmax": lambda F, x, w: F.softmax(x, -1),
    "softmax of sequences": lambda F, x, w: F.softmax(x, 1),
    "softmax of heads": lambda F, x, w: F.softmax(x.unflatten(-1, (2, 4)).transpose(1, 2), -1),
    "log_softmax": lambda F, x, w: F.log_softmax(x, 2),
    "softmin": lambda F, x, w: F.softmin(x, -1),
    "dropout": lambda F, x, w: F.dropout(x, 0.5, False),
    "l1_loss": lambda F, x, w: F.l1_loss(x, x * 2),
    "kl_div": lambda F, x, w: F.kl_div(x, x.exp(), reduction="sum"),
    "attention": lambda F, x, w: F.scaled_dot_product_attention(*[x.unflatten(-1, (2, 4)).transpose(1, 2)] * 3),
}


def weighted(values: Tensor) -> Tensor:
    """Returns a sum with a different gradient for each value."""
    return (values * torch.linspace(-1, 2, values.numel(), dtype=values.dtype).view(values.shape)).sum()


@pytest.mark.parametrize("name", CALLS)
def test_agrees_with_the_built_in_on_each_sequence(name):
    x, w = ragged(), table(8, 8)
    y = CALLS[name](functional, x, w)
    weighted(y.values() if y.is_nested else y).backward()
    values, weights = x.detach().values().requires_grad_(), table(8, 8)
    if y.is_nested:
        each = [CALLS[name](torch.nn.functional, part.unsqueeze(0), weights)[0] for part in values.split(LENGTHS)]
        expected, actual = torch.cat(each, y._ragged_idx - 1), y.values()
    else:
        expected, actual = CALLS[name](torch.nn.functional, values, weights), y
    torch.testing.assert_close(actual, expected)
    weighted(expected).backward()
    torch.testing.assert_close(x.grad.values(), values.grad)
    if weights.grad is not None:
        torch.testing.assert_close(w.grad, weights.grad)


def test_embedding_of_nested_indices():
    indices = torch.nested.nested_tensor([torch.tensor([1, 2]), torch.tensor([0])], layout=torch.jagged)
    results = []
    for F in (functional, torch.nn.functional):
        w = table(5, 4)
        y = F.embedding(indices, w)
        y.values().pow(2).sum().backward()
        results.append((y.values(), w.grad))
    torch.testing.assert_close(*results)


def test_dropout_drops_from_the_values():
    y = functional.dropout(ragged(), 0.5)
    assert y.is_nested
    assert 0 < (y.values() == 0).sum() < y.values().numel()


def test_sequences_keep_their_lengths_through_a_network():
    net = nn.Sequential(nn.Linear(8, 4), nn.LayerNorm(4), nn.GELU(), nn.Linear(4, 8)).double()
    x = ragged()
    y = x + net(x)  # the addition needs equal lengths
    assert [len(part) for part in y.unbind()] == list(LENGTHS)


def test_unsupported_nested_tensors_raise():
    x = ragged()
    with pytest.raises(NotImplementedError, match="conv1d: expected no nested tensor for input"):
        functional.conv1d(x, table(1, 8, 1))
    with pytest.raises(RuntimeError, match="softmax: expected dim other than that of a nested tensor's batch"):
        functional.softmax(x, 0)
    with pytest.raises(RuntimeError, match="l1_loss: expected nested tensors of the same sequence lengths"):
        functional.l1_loss(x, ragged(seed=1))
