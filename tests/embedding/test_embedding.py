"""What the comparison with the built-in cannot show of tables: sparse gradients, rows scaled in place, frequencies."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from scratchnet.functional import embedding, embedding_bag
from scratchnet.nn import Embedding, EmbeddingBag

INDICES = torch.tensor([[1, 3, 1], [0, 3, 4]])


def table():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, 3, dtype=torch.float64, generator=generator).requires_grad_()


@pytest.mark.parametrize("function", [embedding, embedding_bag])
@pytest.mark.parametrize("options", [{}, {"padding_idx": 3}, {"scale_grad_by_freq": True}])
def test_a_sparse_gradient_holds_the_used_rows_of_the_dense_one(function, options):
    gradients = []
    for sparse in (False, True):
        weight = table()
        function(INDICES, weight, sparse=sparse, **options).pow(2).sum().backward()
        gradients.append(weight.grad)
    dense, sparse = gradients
    assert sparse.is_sparse
    assert sparse.coalesce().indices().unique().tolist() == dense.abs().sum(1).nonzero().squeeze(1).tolist()
    torch.testing.assert_close(sparse.to_dense(), dense)


@pytest.mark.parametrize("function", [embedding_bag, F.embedding_bag])
def test_a_table_before_the_indices_warns_and_is_taken(function):
    weight = table()
    with pytest.warns(UserWarning, match="deprecated") as caught:
        y = function(weight, INDICES)
    assert caught[0].filename == __file__
    torch.testing.assert_close(y, embedding_bag(INDICES, weight))


def test_a_sparse_gradient_trains():
    layer = Embedding(5, 3, sparse=True)
    before = layer.weight.detach().clone()
    layer(INDICES).sum().backward()
    torch.optim.SGD(layer.parameters(), lr=0.1).step()
    changed = (layer.weight != before).any(1)
    assert changed.tolist() == [True, True, False, True, True]


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.5, 0.0, float("inf")])
@pytest.mark.parametrize(("custom", "builtin"), [(embedding, F.embedding), (embedding_bag, F.embedding_bag)])
def test_used_rows_are_scaled_down_in_place(custom, builtin, norm_type):
    ours, theirs = table(), table()
    options = {"max_norm": 0.9, "norm_type": norm_type}
    torch.testing.assert_close(custom(INDICES, ours, **options), builtin(INDICES, theirs, **options))
    torch.testing.assert_close(ours, theirs)
    assert torch.equal(ours[2], table()[2])
    torch.testing.assert_close(custom(INDICES, ours, **options), builtin(INDICES, theirs, **options))


def test_a_bag_divides_each_row_by_its_own_frequency():
    # The built-in divides by the frequency of another row unless the used rows are 0, 1, 2 and so on.
    weight = table()
    embedding_bag(INDICES, weight, mode="sum", scale_grad_by_freq=True).sum().backward()
    assert weight.grad[:, 0].tolist() == [1.0, 1.0, 0.0, 1.0, 1.0]


def test_what_lies_beyond_the_last_offset_is_in_no_bag():
    weight, flat = table(), torch.tensor([1, 3, 1, 0, 2])
    for mode in ("sum", "mean", "max"):
        y = embedding_bag(flat, weight, torch.tensor([0, 2, 4]), mode=mode, include_last_offset=True)
        torch.testing.assert_close(y, embedding_bag(flat[:4].view(2, 2), weight, mode=mode))
    shares = torch.ones(5, dtype=torch.float64, requires_grad=True)
    embedding_bag(
        flat, weight, torch.tensor([0, 4]), mode="sum", include_last_offset=True, per_sample_weights=shares
    ).sum().backward()
    assert shares.grad[4] == 0


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("include_last_offset", [False, True])
@pytest.mark.parametrize("offsets", [[0, 4, 3], [0, 2, 2, 3, 0], [0, 9, 5]], ids=str)
def test_offsets_that_decrease_are_refused(mode, include_last_offset, offsets):
    with pytest.raises(RuntimeError, match="embedding_bag: expected offsets that do not decrease, got list"):
        embedding_bag(
            torch.arange(5), table(), torch.tensor(offsets), mode=mode, include_last_offset=include_last_offset
        )


@pytest.mark.parametrize("layer", [Embedding, EmbeddingBag])
def test_a_pretrained_table_is_shared_and_frozen(layer):
    given = table().detach()
    frozen = layer.from_pretrained(given)
    assert frozen.weight.data_ptr() == given.data_ptr()
    assert not frozen.weight.requires_grad
    assert layer.from_pretrained(given, freeze=False).weight.requires_grad
