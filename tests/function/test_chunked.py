"""A function evaluated chunk by chunk gives what it gives for all of its tensors at once."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from reference.catalog import RECORDS, Make
from scratchnet.function import Product, chunked
from scratchnet.testing.subject import Call, Subject

ROWS, COLUMNS, FEATURES = 7, 5, 3


class Largest(TorchDispatchMode):
    """Notes the most elements of any tensor that is computed."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.elements = max(self.elements, result.untyped_storage().nbytes() // result.element_size())
        return result


def pulls(x: Tensor, row: Tensor, nothing: None, *, y: Tensor) -> tuple[Tensor | Product | None, ...]:
    """Joined and added outputs, as tensors and as products."""
    difference = (x.unsqueeze(-2) - y + row.unsqueeze(-2)).square()
    weights = difference.sum(-1)
    return difference.sum(-1), None, difference.sum(0), Product(weights.mT, x, 0.5), Product(weights, y, 2.0)


def operands(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (ROWS, FEATURES), (1, FEATURES), (COLUMNS, FEATURES)
    x, row, y = (torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes)
    return x, row, y


@pytest.mark.parametrize("size", [1, 3, 6, 7, 1000])
@torch.no_grad()
def test_outputs_are_joined_or_added(size):
    x, row, y = operands()
    found = chunked(pulls, x, row, None, size=size, added=(2, 3), y=y)
    joined, nothing, total, product, rows = pulls(x, row, None, y=y)
    assert found[1] is nothing is None
    for one, other in zip((*found[:1], *found[2:]), (joined, total, product.whole(), rows.whole()), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("size", [1, 2, 4])
@torch.no_grad()
def test_batches_are_split_along_any_dimension(size):
    a, b = torch.randn(2, 4, 3, dtype=torch.float64), torch.randn(2, 3, 5, dtype=torch.float64)
    found = chunked(_product, a, size=size, dim=-2, b=b)
    torch.testing.assert_close(found[0], a @ b)
    torch.testing.assert_close(chunked(_sums, a, size=size, dim=1), a.sum(1, keepdim=True) * 0 + a)
    outer = chunked(_outer, a, a, size=size, dim=1, added=(0,))
    torch.testing.assert_close(outer[0], a.mT @ a)


def _product(a: Tensor, *, b: Tensor) -> tuple[Product]:
    return (Product(a, b),)


def _outer(a: Tensor, b: Tensor) -> tuple[Product]:
    return (Product(a.mT, b),)


def _sums(a: Tensor) -> Tensor:
    return a.clone()


@torch.no_grad()
def test_sums_of_low_precision_are_added_in_float32():
    x = torch.ones(4096, 1, dtype=torch.float16)
    (total,) = chunked(_outer, x, x, size=1, added=(0,))
    assert total.item() == 4096  # float16 cannot count beyond 2048
    (total,) = chunked(lambda x: (x.sum(0),), x, size=1, added=(0,))
    assert total.item() == 4096


@torch.no_grad()
def test_no_rows_give_empty_and_zero_outputs():
    x, row, y = operands()
    found = chunked(pulls, x[:0], row, None, size=2, added=(2, 3), y=y)
    assert found[0].shape == (0, COLUMNS)
    assert not found[2].any()
    assert not found[3].any()


@torch.no_grad()
def test_only_a_chunk_is_held():
    x, row, y = operands()
    for size, elements in ((1, ROWS * COLUMNS), (3, 3 * COLUMNS * FEATURES), (ROWS, ROWS * COLUMNS * FEATURES)):
        with Largest() as seen:
            chunked(pulls, x, row, None, size=size, added=(2, 3), y=y)
        assert seen.elements == elements


def test_recorded_operations_are_plain():
    def run(x, row, y):
        return [out for out in chunked(pulls, x, row, None, size=2, added=(2, 3), y=y) if out is not None]

    assert gradcheck(run, [t.requires_grad_() for t in operands()])


def results(custom, sample) -> list[Tensor]:
    """Returns the outputs of an op and the gradients of a random loss."""
    parameters = dict(custom.named_parameters()) if isinstance(custom, torch.nn.Module) else {}
    call = Call(sample.inputs, sample.options, parameters)
    call = call.with_leaves([x.detach().clone().requires_grad_() for x in call.leaves()])
    torch.manual_seed(0)
    outputs = Subject(custom).run(call)
    recorded = [y for y in outputs if y.requires_grad]
    if not recorded or not call.leaves():
        return list(outputs)
    upstream = [torch.randn_like(y) for y in recorded]
    gradients = torch.autograd.grad(recorded, call.leaves(), upstream, materialize_grads=True)
    return [*outputs, *gradients]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_ops_are_the_same_in_chunks_of_one(monkeypatch):
    module, make = sys.modules[chunked.__module__], Make(torch.float64)
    evaluated = set()

    def counted(*args, **options):
        evaluated.add(record.name)
        return chunked(*args, **options)

    users = [m for m in list(sys.modules.values()) if m.__name__.startswith("scratchnet.")]
    for user in [m for m in users if getattr(m, "chunked", None) is chunked]:
        monkeypatch.setattr(user, "chunked", counted)
    for record in RECORDS.values():
        for sample in record.samples(make):
            custom = record.sides(sample)[0]
            monkeypatch.setattr(module, "CACHED", 2**18)
            whole = results(custom, sample)
            monkeypatch.setattr(module, "CACHED", 0)
            torch.testing.assert_close(results(custom, sample), whole, rtol=1e-9, atol=1e-11, equal_nan=True)
    assert evaluated >= {"grid_sample", "scaled_dot_product_attention", "linear_cross_entropy"}, sorted(evaluated)
