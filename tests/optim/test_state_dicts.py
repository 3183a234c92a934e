"""A run goes on from a state dict of either optimizer, and from a copy."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from optimizer_runs import OPTIMIZERS, assert_same, every_optimizer, tensors, train
from torch.optim import Optimizer
from torch.testing import assert_close

from scratchnet.optim import Adam, AdamW

ADAM = ["amsgrad", "capturable", "decoupled_weight_decay"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"momentum": 0.9}),
        ("SGD", {}),
        ("SGD", {"momentum": 0.9, "nesterov": True}),
        ("Adam", {"betas": (0.5, 0.9)}),
        ("Adam", {"amsgrad": True}),
        ("AdamW", {}),
        ("AdamW", {"amsgrad": True, "weight_decay": 0.1}),
    ],
    ids=str,
)
@pytest.mark.parametrize("direction", [1, -1], ids=["to ours", "to theirs"])
def test_training_goes_on_from_the_others_state_dict(name: str, options: dict[str, Any], direction: int) -> None:
    first, second = OPTIMIZERS[name][::direction]
    whole = tensors()
    optimizer = OPTIMIZERS[name][0](whole, lr=0.1, **options)
    train(optimizer, whole, range(6))

    params = tensors()
    half = first(params, lr=0.1, **options)
    train(half, params, range(3))
    other = second(params, lr=0.7)
    other.load_state_dict(copy.deepcopy(half.state_dict()))
    train(other, params, range(3, 6))

    assert_same(params, whole)
    assert_same(other.state_dict(), optimizer.state_dict())


@every_optimizer
def test_a_fused_state_dict_loads_and_goes_on_unfused(name: str) -> None:
    theirs, ours = tensors(), tensors()
    fused = OPTIMIZERS[name][0](theirs, lr=0.1, fused=True)
    optimizer = OPTIMIZERS[name][1](ours, lr=0.1)
    optimizer.load_state_dict(fused.state_dict())
    assert optimizer.param_groups[0]["fused"] is None
    train(fused, theirs, range(3))
    train(optimizer, ours, range(3))
    assert_close(ours, theirs)


@pytest.mark.parametrize(("name", "newer"), [("SGD", ["nesterov"]), *[(adam, ADAM) for adam in ("Adam", "AdamW")]])
def test_an_old_state_dict_without_newer_options_loads(name: str, newer: list[str]) -> None:
    whole, params = tensors(), tensors()
    theirs, optimizer = (
        make(values, lr=0.5) for make, values in zip(OPTIMIZERS[name], (whole, params), strict=True)
    )
    train(optimizer, params, range(2))
    train(theirs, whole, range(2))
    old = optimizer.state_dict()
    for option in ("maximize", "foreach", "differentiable", "fused", *newer):
        del old["param_groups"][0][option]
    for values in old["state"].values():
        if "step" in values:
            values["step"] = int(values["step"])  # a number in PyTorch 1.11
    optimizer.load_state_dict(old)
    train(optimizer, params, range(2, 4))
    train(theirs, whole, range(2, 4))
    assert_same(params, whole)
    assert_same(optimizer.state_dict()["state"], theirs.state_dict()["state"])


def test_a_state_dict_of_adam_goes_on_with_decoupled_decay() -> None:
    runs = []
    for make in (torch.optim.AdamW, AdamW):
        params = tensors()
        adam = Adam(params, lr=0.1, weight_decay=0.1)
        train(adam, params, range(2))
        optimizer = make(params)
        optimizer.load_state_dict(adam.state_dict())
        train(optimizer, params, range(2, 4))
        assert optimizer.param_groups[0]["decoupled_weight_decay"]
        runs.append(params)
    assert_same(runs[1], runs[0])


@every_optimizer
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_copy_trains_alone_and_alike(duplicate: Callable[[Optimizer], Optimizer], name: str) -> None:
    params = tensors()
    optimizer = OPTIMIZERS[name][1](params, lr=0.1)
    train(optimizer, params, range(2))
    twin = duplicate(optimizer)
    twin_params = twin.param_groups[0]["params"]
    assert_same(twin_params, params)
    train(twin, twin_params, range(2, 4))
    assert not torch.equal(twin_params[1], params[1])
    train(optimizer, params, range(2, 4))
    assert_same(twin_params, params)
