"""What goes with a step: closures, hooks, profiles, autograd; what is refused; and the constructors' signatures."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from optimizer_runs import (
    OPTIMIZERS,
    Make,
    assert_same,
    assert_same_run,
    every_optimizer,
    set_gradients,
    tensors,
)
from torch import Tensor
from torch.optim import Optimizer

from scratchnet.optim import adam, base, sgd


@pytest.mark.parametrize("tile", [base.TILE, 50])
@pytest.mark.parametrize("foreach", [None, True, False])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"momentum": 0.9, "nesterov": True}),
        ("Adam", {"weight_decay": 0.1, "maximize": True, "amsgrad": True}),
        ("AdamW", {}),
    ],
    ids=str,
)
def test_gradients_stay_untouched_and_autograd_sees_the_step(
    name: str, options: dict[str, Any], foreach: bool | None, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "TILE", tile)
    params = tensors()
    optimizer = OPTIMIZERS[name][1](params, lr=0.1, foreach=foreach, **options)
    for step in (0, 2):
        set_gradients(params, step)
        before = [param.grad.clone() for param in params if param.grad is not None]
        versions = [param._version for param in params]
        optimizer.step()
        assert_same([param.grad for param in params], before)
        assert all(param._version > version for param, version in zip(params, versions, strict=True))
        assert all(param.is_leaf and param.requires_grad for param in params)


@every_optimizer
def test_closure_runs_with_gradients_and_its_loss_is_returned(name: str) -> None:
    def run(optimizer_class: Make) -> tuple[Optimizer, list[Tensor]]:
        params = tensors()
        optimizer = optimizer_class(params, lr=0.1)

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

    assert_same_run(name, run)


@every_optimizer
def test_hooks_run_around_the_step(name: str) -> None:
    params = tensors()
    optimizer = OPTIMIZERS[name][1](params, lr=0.1)
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


@every_optimizer
def test_profiles_show_the_step(name: str) -> None:
    params = tensors()
    for optimizer_class in OPTIMIZERS[name]:
        optimizer = optimizer_class(params, lr=0.1)
        set_gradients(params, 0)
        with torch.profiler.profile() as profile:
            optimizer.step()
            optimizer.zero_grad()
        names = [event.name for event in profile.events() if event.name.startswith("Optimizer")]
        assert names == [f"Optimizer.step#{name}.step", f"Optimizer.zero_grad#{name}.zero_grad"]


@pytest.mark.parametrize(
    ("names", "options", "error", "message"),
    [
        ("SGD Adam AdamW", {"lr": -0.1}, ValueError, r"Invalid learning rate: -0\.1.*maximize=True"),
        (
            "SGD Adam AdamW",
            {"lr": torch.tensor([0.1, 0.2])},
            ValueError,
            r"Tensor lr must be 1-element, got shape \(2,\)",
        ),
        ("SGD Adam AdamW", {"lr": "0.1"}, TypeError, "not supported between"),
        ("SGD Adam AdamW", {"weight_decay": -1.0}, ValueError, r"Invalid weight_decay value: -1\.0"),
        ("SGD", {"momentum": -0.5}, ValueError, r"Invalid momentum value: -0\.5"),
        ("SGD", {"nesterov": True}, ValueError, "Nesterov momentum requires a momentum and zero dampening"),
        ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, ValueError, r"dampening=0\.1"),
        ("Adam AdamW", {"lr": float("nan")}, ValueError, "Invalid learning rate: nan"),
        ("Adam AdamW", {"eps": -1e-8}, ValueError, "Invalid epsilon value: -1e-08, expected eps >= 0"),
        ("Adam AdamW", {"betas": (1.0, 0.9)}, ValueError, r"Invalid beta parameter at index 0: 1\.0"),
        ("Adam AdamW", {"betas": (0.9, -0.1)}, ValueError, r"at index 1: -0\.1, expected 0 <= beta < 1"),
        ("Adam AdamW", {"betas": (0.9, torch.tensor(0.9))}, ValueError, "both floats or both Tensors, got float"),
        ("Adam AdamW", {"betas": (0, 0.9)}, ValueError, "both floats or both Tensors, got int"),
        (
            "Adam AdamW",
            {"lr": torch.tensor(0.1), "foreach": True},
            ValueError,
            "lr as a Tensor.*leave foreach out",
        ),
        (
            "Adam AdamW",
            {"betas": (torch.tensor(0.9),) * 2, "foreach": True},
            ValueError,
            r"betas\[0\] as a Tensor is not supported for capturable=False and foreach=True",
        ),
        (
            "Adam AdamW",
            {"betas": (torch.tensor(0.9), torch.zeros(2))},
            (ValueError, RuntimeError),
            r"Tensor betas\[1\] must be 1-element, got shape \(2,\)",
        ),
    ],
)
def test_bad_options_are_refused_as_in_torch(
    names: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    for name in names.split():
        theirs, ours = OPTIMIZERS[name]
        with pytest.raises(error, match=message):
            ours(tensors(), **options)
        with pytest.raises(error):
            theirs(tensors(), **options)


@every_optimizer
def test_fused_is_refused_for_a_whole_optimizer_and_for_a_group(name: str) -> None:
    ours = OPTIMIZERS[name][1]
    params = tensors()
    with pytest.raises(RuntimeError, match=f"{name} has no fused kernel"):
        ours(params, fused=True)
    optimizer = ours(params[:2])
    with pytest.raises(RuntimeError, match=f"{name} has no fused kernel"):
        optimizer.add_param_group({"params": params[2:], "fused": True})
    assert len(optimizer.param_groups) == 1


@every_optimizer
def test_the_signature_is_that_of_torch(name: str) -> None:
    theirs, ours = (inspect.signature(optimizer_class).parameters for optimizer_class in OPTIMIZERS[name])
    assert [(p.name, p.kind, p.default) for p in ours.values()] == [
        (p.name, p.kind, p.default) for p in theirs.values()
    ]


@pytest.mark.parametrize("module", [sgd, adam])
def test_the_examples_of_the_docstrings_run(module: Any) -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
