"""A run goes on from a state dict of either optimizer, and from a copy."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from sgd_runs import OPTIMIZERS, assert_same, tensors, train
from torch.optim import Optimizer
from torch.testing import assert_close

from scratchnet.optim import SGD


@pytest.mark.parametrize("options", [{"momentum": 0.9}, {}, {"momentum": 0.9, "nesterov": True}], ids=str)
@pytest.mark.parametrize(("first", "second"), [OPTIMIZERS, OPTIMIZERS[::-1]], ids=["to ours", "to theirs"])
def test_training_goes_on_from_the_others_state_dict(
    first: Callable[..., Optimizer], second: Callable[..., Optimizer], options: dict[str, Any]
) -> None:
    whole = tensors()
    optimizer = torch.optim.SGD(whole, lr=0.1, **options)
    train(optimizer, whole, range(6))

    params = tensors()
    half = first(params, lr=0.1, **options)
    train(half, params, range(3))
    other = second(params, lr=0.7)
    other.load_state_dict(copy.deepcopy(half.state_dict()))
    train(other, params, range(3, 6))

    assert_same(params, whole)
    assert_same(other.state_dict(), optimizer.state_dict())


def test_a_fused_state_dict_loads_and_goes_on_unfused() -> None:
    theirs, ours = tensors(), tensors()
    fused = torch.optim.SGD(theirs, lr=0.1, momentum=0.9, fused=True)
    optimizer = SGD(ours, lr=0.1)
    optimizer.load_state_dict(fused.state_dict())
    assert optimizer.param_groups[0]["fused"] is None
    train(fused, theirs, range(3))
    train(optimizer, ours, range(3))
    assert_close(ours, theirs)


def test_an_old_state_dict_without_newer_options_loads() -> None:
    whole, params = tensors(), tensors()
    optimizer = SGD(params, lr=0.5)
    old = optimizer.state_dict()
    for option in ("nesterov", "maximize", "foreach", "differentiable", "fused"):
        del old["param_groups"][0][option]
    optimizer.load_state_dict(old)
    train(optimizer, params, range(2))
    train(torch.optim.SGD(whole, lr=0.5), whole, range(2))
    assert_same(params, whole)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_copy_trains_alone_and_alike(duplicate: Callable[[Optimizer], Optimizer]) -> None:
    params = tensors()
    optimizer = SGD(params, lr=0.1, momentum=0.9)
    train(optimizer, params, range(2))
    twin = duplicate(optimizer)
    twin_params = twin.param_groups[0]["params"]
    assert_same(twin_params, params)
    train(twin, twin_params, range(2, 4))
    assert not torch.equal(twin_params[1], params[1])
    train(optimizer, params, range(2, 4))
    assert_same(twin_params, params)
