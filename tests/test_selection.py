"""Masks of either kind select as ``torch.where`` does, whatever lies in the elements that are not selected."""

from __future__ import annotations

import pytest
import torch

from scratchnet.selection import keep, mask, select, unless

INF, NAN = float("inf"), float("nan")
RELATIONS = [torch.lt, torch.le, torch.gt, torch.ge]
both_kinds = pytest.mark.parametrize("recorded", [False, True], ids=["bits", "booleans"])


def tensors(dtype):
    x = torch.tensor([[-INF, -1.0, -0.0], [0.0, 1.0, NAN]], dtype=dtype)
    a = torch.tensor([[1.0, NAN, INF], [2.0, -INF, 3.0]], dtype=dtype)
    return x, a, -a.flip(0)


@both_kinds
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("relation", RELATIONS)
def test_either_kind_selects_as_where_does(recorded, dtype, relation):
    x, a, b = tensors(dtype)
    holds = relation(x, 0)
    with torch.set_grad_enabled(recorded):
        for made, expected in ((mask(relation, x, 0), holds), (unless(relation, x, 0), ~holds)):
            assert made.is_floating_point() is False
            got = select(made.clone(), a, b.clone())
            torch.testing.assert_close(got, torch.where(expected, a, b), rtol=0, atol=0, equal_nan=True)
            got = keep(made, a)
            torch.testing.assert_close(got, torch.where(expected, a, 0), rtol=0, atol=0, equal_nan=True)


@both_kinds
def test_masks_combine(recorded):
    x, a, _ = tensors(torch.float64)
    with torch.set_grad_enabled(recorded):
        inside = mask(torch.gt, x, -1).bitwise_and_(unless(torch.ge, x, 1))
        assert keep(inside, torch.ones_like(x)).tolist() == [[0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize("layout", [lambda x: x.t(), lambda x: x[:, ::2], lambda x: x[:1].expand(2, 3)])
def test_bits_are_read_through_any_strides(layout):
    x, a, b = (layout(t) for t in tensors(torch.float32))
    with torch.no_grad():
        got = select(mask(torch.gt, x, 0), a, b.clone())
        torch.testing.assert_close(got, torch.where(x > 0, a, b), rtol=0, atol=0, equal_nan=True)
        assert torch.equal(keep(mask(torch.gt, x, 0), torch.ones_like(x)), (x > 0).float())


def test_one_element_stands_for_all():
    x = torch.tensor([-1.0, 2.0])
    with torch.no_grad():
        assert select(mask(torch.gt, x, 0), torch.tensor(7.0), x.clone()).tolist() == [-1.0, 7.0]


def test_what_is_selected_keeps_its_inputs():
    x, a, b = tensors(torch.float32)
    before = [t.clone() for t in (x, a)]
    with torch.no_grad():
        select(mask(torch.gt, x, 0), a, b)
        keep(mask(torch.gt, x, 0), a)
    for now, then in zip((x, a), before, strict=True):
        torch.testing.assert_close(now, then, rtol=0, atol=0, equal_nan=True)
