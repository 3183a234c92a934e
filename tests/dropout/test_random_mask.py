"""Random masks are the ones that PyTorch draws, of any size and layout, and leave the generator where it does."""

from __future__ import annotations

import pytest
import torch

from scratchnet.dropout import random_mask


@pytest.mark.parametrize("size", [(4095,), (4096,), (3, 50, 41, 7), (2**15, 3)])
@pytest.mark.parametrize("q", [1e-3, 0.25, 0.5, 1 / 3, 1 - 1e-3])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("asked", [False, True], ids=["", "asked for"])
def test_masks_and_states_are_pytorch_s(monkeypatch, size, q, turned, asked):
    if asked:
        monkeypatch.setattr(random_mask, "_compares_integers", lambda: False)
    x = torch.empty(size)
    x = x.movedim(-1, 0) if turned else x
    torch.manual_seed(3)
    got, after = random_mask.random_mask(x, None, q), torch.get_rng_state()
    torch.manual_seed(3)
    expected = torch.empty_like(x).bernoulli_(q).bool()
    assert torch.equal(got, expected)
    assert torch.equal(after, torch.get_rng_state())
    assert got.stride() == expected.stride()


def test_a_processor_that_draws_otherwise_is_noticed(monkeypatch):
    monkeypatch.setattr(random_mask, "BITS", 24)
    random_mask._compares_integers.cache_clear()
    assert not random_mask._compares_integers()
    random_mask._compares_integers.cache_clear()
