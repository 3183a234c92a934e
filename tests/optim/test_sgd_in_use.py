"""What goes with a step: closures, hooks, autograd; what is refused; and the constructor's signature."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from sgd_runs import OPTIMIZERS, assert_same, assert_same_run, set_gradients, tensors
from torch import Tensor
from torch.optim import Optimizer

from scratchnet.optim import SGD, sgd


@pytest.mark.parametrize("tile", [sgd._TILE, 50])
@pytest.mark.parametrize("foreach", [None, True, False])
def test_gradients_stay_untouched_and_autograd_sees_the_step(
    foreach: bool | None, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sgd, "_TILE", tile)
    params = tensors()
    optimizer = SGD(params, lr=0.1, momentum=0.9, nesterov=True, foreach=foreach)
    for step in (0, 2):
        set_gradients(params, step)
        before = [param.grad.clone() for param in params if param.grad is not None]
        versions = [param._version for param in params]
        optimizer.step()
        assert_same([param.grad for param in params], before)
        assert all(param._version > version for param, version in zip(params, versions, strict=True))
        assert all(param.is_leaf and param.requires_grad for param in params)


def test_closure_runs_with_gradients_and_its_loss_is_returned() -> None:
    def run(optimizer_class: Callable[..., Optimizer]) -> tuple[Optimizer, list[Tensor]]:
        params = tensors()
        optimizer = optimizer_class(params, lr=0.1, momentum=0.9)

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = sum((param.square().sum() for param in params), torch.zeros(()))
            loss.backward()
            return loss

        with torch.no_grad():
            losses = [optimizer.step(lambda: closure().item()) for _ in range(4)]
            assert not torch.is_grad_enabled()
        assert losses[3] < losses[0]
        return optimizer, params

    assert_same_run(run)


def test_hooks_run_around_the_step() -> None:
    params = tensors()
    optimizer = SGD(params, lr=0.1)
    set_gradients(params, 0)
    seen: list[tuple[str, bool]] = []

    def note(event: str) -> Callable[..., None]:
        return lambda *_: seen.append((event, torch.equal(params[1], start)))

    start = params[1].detach().clone()
    before = optimizer.register_step_pre_hook(note("before"))
    optimizer.register_step_post_hook(note("after"))
    optimizer.step()
    assert seen == [("before", True), ("after", False)]
    before.remove()
    optimizer.step()
    assert [event for event, _ in seen] == ["before", "after", "after"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lr": -0.1}, ValueError, r"Invalid learning rate: -0\.1.*maximize=True"),
        ({"lr": torch.tensor([0.1, 0.2])}, ValueError, r"Tensor lr must be 1-element, got shape \(2,\)"),
        ({"momentum": -0.5}, ValueError, r"Invalid momentum value: -0\.5"),
        ({"weight_decay": -1.0}, ValueError, r"Invalid weight_decay value: -1\.0"),
        ({"nesterov": True}, ValueError, "Nesterov momentum requires a momentum and zero dampening"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, ValueError, r"dampening=0\.1"),
        ({"lr": "0.1"}, TypeError, "'<' not supported"),
    ],
)
def test_bad_options_are_refused_as_in_torch(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        SGD(tensors(), **options)
    with pytest.raises(error):
        torch.optim.SGD(tensors(), **options)


def test_fused_is_refused_for_a_whole_optimizer_and_for_a_group() -> None:
    params = tensors()
    with pytest.raises(RuntimeError, match="no fused kernel"):
        SGD(params, fused=True)
    optimizer = SGD(params[:2])
    with pytest.raises(RuntimeError, match="no fused kernel"):
        optimizer.add_param_group({"params": params[2:], "fused": True})
    assert len(optimizer.param_groups) == 1


def test_the_signature_is_that_of_torch() -> None:
    ours, theirs = (inspect.signature(optimizer_class).parameters for optimizer_class in OPTIMIZERS[::-1])
    assert [(p.name, p.kind, p.default) for p in ours.values()] == [
        (p.name, p.kind, p.default) for p in theirs.values()
    ]


def test_the_example_of_the_docstring_runs() -> None:
    results = doctest.testmod(sgd)
    assert results.attempted > 0
    assert results.failed == 0
