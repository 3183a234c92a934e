"""What a step is made of: arithmetic alone, differentiable, and one graph for the compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from sgd_runs import OPTIONS, assert_same, assert_same_run, set_gradients, tensors
from torch import Tensor
from torch.optim import Optimizer
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from scratchnet.optim import SGD, sgd


def test_only_arithmetic_is_dispatched(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[str] = set()

    class Record(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.add(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    monkeypatch.setattr(sgd, "_TILE", 50)
    for options in OPTIONS:
        for foreach in (None, False):
            params = tensors()
            optimizer = SGD(params, **{"lr": 0.1, **options}, foreach=foreach)
            for step in range(2):
                set_gradients(params, step)
                with Record():
                    optimizer.step()
    arithmetic = {
        "add",
        "add_",
        "mul_",
        "neg",
        "_foreach_add",
        "_foreach_add_",
        "_foreach_mul_",
        "_foreach_neg",
    }
    upkeep = {"clone", "view", "split", "_local_scalar_dense"}
    assert {name for name in seen if "record_function" not in name} == arithmetic | upkeep


def meta_gradients(
    optimizer_class: Callable[..., Optimizer] | None, options: dict[str, Any], lr_grad: bool
) -> tuple[Tensor, ...]:
    """Differentiate three steps on sum(w^4); without an optimizer, through the rule itself."""
    start = torch.tensor([0.3, -0.7], dtype=torch.float64, requires_grad=True)
    lr, decay = (torch.tensor(x, dtype=torch.float64, requires_grad=lr_grad) for x in (0.1, 0.2))
    mu, tau = options.get("momentum", 0.0), options.get("dampening", 0.0)
    w, b = start.clone(), None
    if optimizer_class is not None:
        w.retain_grad()
        optimizer = optimizer_class([w], lr=lr, weight_decay=decay, differentiable=True, **options)
    for _ in range(3):
        (grad,) = torch.autograd.grad(w.clone().pow(4).sum(), w, create_graph=True)
        if optimizer_class is not None:
            w.grad = grad
            optimizer.step()
        else:
            grad = grad + decay * w
            b = grad if b is None else mu * b + (1 - tau) * grad
            w = w - lr * (grad + mu * b if options.get("nesterov") else b if mu else grad)
    return torch.autograd.grad(w.square().sum(), [start, lr, decay] if lr_grad else [start])


@pytest.mark.parametrize("lr_grad", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "dampening": 0.3}],
    ids=str,
)
def test_differentiable_steps_have_the_gradient_of_the_rule(options: dict[str, Any], lr_grad: bool) -> None:
    assert_close(meta_gradients(SGD, options, lr_grad), meta_gradients(None, options, lr_grad))
    if not options and not lr_grad:
        assert_same(meta_gradients(SGD, options, lr_grad), meta_gradients(torch.optim.SGD, options, lr_grad))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # torch's own import
@pytest.mark.parametrize("options", [{"momentum": 0.9}, {"lr": torch.tensor([0.1]), "weight_decay": 0.1}], ids=str)
def test_a_compiled_step_is_one_graph_and_bit_equal(options: dict[str, Any]) -> None:
    def run(optimizer_class: Callable[..., Optimizer]) -> tuple[Optimizer, list[Tensor]]:
        torch.compiler.reset()
        params = tensors()
        optimizer = optimizer_class(params, **{"lr": 0.1, **options})
        compiled = torch.compile(optimizer.step, backend="eager", fullgraph=optimizer_class is SGD)
        for step in (0, 2, 3):
            set_gradients(params, step)
            compiled()
        return optimizer, params

    assert_same_run(run)
