"""scratchnet.optim.SGD takes the steps of torch.optim.SGD, bit for bit, wherever that one can be used."""

from __future__ import annotations

import copy
import doctest
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer, lr_scheduler, swa_utils
from torch.optim.lr_scheduler import LRScheduler
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from scratchnet.optim import SGD, sgd

OPTIMIZERS = (torch.optim.SGD, SGD)
SHAPES = [(), (3,), (5, 7), (0, 4), (2, 3, 4, 4), (129,)]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"lr": 1},
    {"weight_decay": 0.01},
    {"maximize": True},
    {"maximize": True, "weight_decay": 0.01},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "maximize": True},
    {"lr": torch.tensor(0.1), "momentum": 0.9},
    {"lr": torch.tensor([0.1], dtype=torch.float64), "weight_decay": torch.tensor(0.01)},
]


def tensors(dtype: torch.dtype = torch.float32, shapes: list[tuple[int, ...]] = SHAPES) -> list[Tensor]:
    """Leaf tensors that are the same at every call; the four-dimensional one lies channels-last in memory."""
    torch.manual_seed(0)
    values = [torch.randn(shape, dtype=dtype) for shape in shapes]
    values = [v.contiguous(memory_format=torch.channels_last) if v.dim() == 4 else v for v in values]
    return [value.requires_grad_() for value in values]


def set_gradients(params: list[Tensor], step: int) -> None:
    """Fresh random gradients; every third step, one parameter in two has none."""
    torch.manual_seed(100 + step)
    for i, param in enumerate(params):
        grad = torch.randn_like(param)
        param.grad = None if step % 3 == 1 and i % 2 else grad


def train(optimizer: Optimizer, params: list[Tensor], steps: range) -> None:
    for step in steps:
        set_gradients(params, step)
        optimizer.step()


def assert_same(ours: Any, theirs: Any) -> None:
    assert_close(ours, theirs, rtol=0, atol=0)


def assert_same_run(run: Callable[[Callable[..., Optimizer]], tuple[Optimizer, list[Tensor]]]) -> None:
    """Compare parameters and state after the same run with either optimizer."""
    (their_optimizer, theirs), (our_optimizer, ours) = map(run, OPTIMIZERS)
    assert any(not torch.equal(end, start) for end, start in zip(ours, tensors(ours[0].dtype), strict=False))
    assert_same(ours, theirs)
    assert_same(our_optimizer.state_dict(), their_optimizer.state_dict())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.complex64], ids=str)
@pytest.mark.parametrize("foreach", [None, True, False])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_steps_are_bit_equal(options: dict[str, Any], foreach: bool | None, dtype: torch.dtype) -> None:
    def run(optimizer_class: Callable[..., Optimizer]) -> tuple[Optimizer, list[Tensor]]:
        params = tensors(dtype)
        optimizer = optimizer_class(params, **{"lr": 0.1, **options}, foreach=foreach)
        train(optimizer, params, range(7))
        return optimizer, params

    assert_same_run(run)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.complex64], ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_cutting_into_tiles_leaves_no_trace(
    options: dict[str, Any], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(optimizer_class: Callable[..., Optimizer]) -> tuple[Optimizer, list[Tensor]]:
        params = tensors(dtype, [(129,), (10, 10), (20,), (9,), (2, 50, 4, 4), (1001,)])
        optimizer = optimizer_class(params, **{"lr": 0.1, **options})
        train(optimizer, params, range(4))
        return optimizer, params

    monkeypatch.setattr(sgd, "_TILE", 50)
    assert_same_run(run)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_tensor_of_several_full_tiles_is_bit_equal(dtype: torch.dtype) -> None:
    def run(optimizer_class: Callable[..., Optimizer]) -> tuple[Optimizer, list[Tensor]]:
        params = tensors(dtype, [(2 * sgd._TILE + 12345,)])
        optimizer = optimizer_class(params, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1)
        train(optimizer, params, range(2))
        return optimizer, params

    assert_same_run(run)


def test_tiles_hold_every_element_once_and_are_about_one_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sgd, "_TILE", 50)
    sizes = (30, 20, 1, 40, 99, 100, 149, 1000)
    rows: list[sgd._Row] = [(torch.zeros(size), torch.zeros(size)) for size in sizes]
    tiles = sgd._tiles(rows)
    lengths = [[param.numel() for param, _ in tile] for tile in tiles]
    assert lengths == [[30, 20], [1, 40], [50], [50], [75], [74], *[[50]] * 20, [99]]
    for tile in tiles:
        for row in tile:
            for tensor in row:
                tensor += 1
    assert all(bool((tensor == 1).all()) for row in rows for tensor in row)


def test_a_batch_has_one_device_and_one_dtype() -> None:
    kinds = [(device, dtype) for device in ("cpu", "meta") for dtype in (torch.float32, torch.float64)]
    rows: list[sgd._Row] = [(torch.empty(3, device=device, dtype=dtype),) * 2 for device, dtype in kinds * 2]
    batches = sgd._batches(rows, sgd._Rule(0.1, 0.9, 0, 0, nesterov=False, maximize=False))
    assert [{(p.device.type, p.dtype) for p, _ in batch} for batch in batches] == [{kind} for kind in kinds]
    assert [len(batch) for batch in batches] == [2, 2, 2, 2]


def test_an_update_of_one_operation_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sgd, "_TILE", 50)
    rows: list[sgd._Row] = [(torch.zeros(1000), torch.zeros(1000))]
    plain = sgd._Rule(0.1, 0, 0, 0, nesterov=False, maximize=False)
    assert sgd._batches(rows, plain) == [rows]
    assert len(sgd._batches(rows, plain._replace(weight_decay=0.1))) == 20


SCHEDULES: dict[str, Callable[[Optimizer], LRScheduler]] = {
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda step: 0.9**step),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, lambda step: 0.9),
    "StepLR": lambda o: lr_scheduler.StepLR(o, 3),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [2, 5]),
    "ConstantLR": lambda o: lr_scheduler.ConstantLR(o, 0.5, 4),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o, 0.1, total_iters=5),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.8),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.1, total_iters=3), lr_scheduler.ExponentialLR(o, 0.8)], [3]
    ),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, 6, 2.0),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 6, 1e-3),
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(o, 0.1, 3), lr_scheduler.ExponentialLR(o, 0.8)]
    ),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=1),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 1e-3, 0.1, step_size_up=3, mode="exp_range", gamma=0.9),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.2, total_steps=10),
    "SWALR": lambda o: swa_utils.SWALR(o, 0.01, anneal_epochs=4),
}


def test_every_scheduler_is_tried() -> None:
    public = {name for name in lr_scheduler.__all__ if name != "LRScheduler"}
    assert public | {"SWALR"} == set(SCHEDULES)


@pytest.mark.parametrize("tensor_lr", [False, True])
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedulers_are_bit_equal(name: str, tensor_lr: bool) -> None:
    rates: list[list[float]] = []

    def run(optimizer_class: Callable[..., Optimizer]) -> tuple[Optimizer, list[Tensor]]:
        params = tensors()
        lr = torch.tensor(0.1) if tensor_lr else 0.1
        optimizer = optimizer_class(params, lr=lr, momentum=0.9)
        schedule = SCHEDULES[name](optimizer)
        rates.append([])
        for step in range(8):
            train(optimizer, params, range(step, step + 1))
            if isinstance(schedule, lr_scheduler.ReduceLROnPlateau):
                schedule.step(1.0)
            else:
                schedule.step()
            rates[-1].append(float(optimizer.param_groups[0]["lr"]))
        return optimizer, params

    assert_same_run(run)
    assert rates[0] == rates[1]
    assert len(set(rates[1])) > 1


def test_groups_keep_their_own_options() -> None:
    def run(optimizer_class: Callable[..., Optimizer]) -> tuple[Optimizer, list[Tensor]]:
        params = tensors()
        optimizer = optimizer_class(
            [
                {"params": params[:2], "lr": 0.5, "momentum": 0},
                {"params": params[2], "weight_decay": 0.1, "foreach": False},
                {"params": params[3:5], "maximize": True, "nesterov": False, "dampening": 0.5},
            ],
            lr=0.1,
            momentum=0.9,
            nesterov=True,
        )
        train(optimizer, params, range(3))
        optimizer.add_param_group({"params": params[5:], "momentum": 0.5})
        train(optimizer, params, range(3, 6))
        return optimizer, params

    assert_same_run(run)


def test_mixed_dtypes_share_a_group() -> None:
    def run(optimizer_class: Callable[..., Optimizer]) -> tuple[Optimizer, list[Tensor]]:
        params = tensors(torch.float32) + tensors(torch.bfloat16) + tensors(torch.float64)
        optimizer = optimizer_class(params, lr=0.1, momentum=0.9, weight_decay=0.1)
        train(optimizer, params, range(4))
        return optimizer, params

    assert_same_run(run)


def test_named_parameters_keep_their_names() -> None:
    params = tensors()
    optimizer = SGD([(f"p{i}", param) for i, param in enumerate(params)], lr=0.1)
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == [f"p{i}" for i in range(len(params))]


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


@pytest.mark.parametrize("foreach", [None, True, False])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "nesterov": True}, {"maximize": True}], ids=str)
def test_sparse_gradients_are_bit_equal(options: dict[str, Any], foreach: bool | None) -> None:
    def run(optimizer_class: Callable[..., Optimizer]) -> Tensor:
        torch.manual_seed(0)
        embedding, bias = torch.nn.Embedding(10, 4, sparse=True), torch.zeros(4, requires_grad=True)
        optimizer = optimizer_class([embedding.weight, bias], lr=0.1, foreach=foreach, **options)
        for step in range(4):
            optimizer.zero_grad()
            (embedding(torch.tensor([step, step + 1, 3, 3])) + bias).square().sum().backward()
            optimizer.step()
        return torch.cat([embedding.weight, bias[None]]).detach()

    assert_same(run(SGD), run(torch.optim.SGD))


def test_weight_decay_on_a_sparse_gradient_is_refused() -> None:
    for optimizer_class, message in zip(OPTIMIZERS, ("not supported", "with weight_decay=0"), strict=True):
        embedding, bias = torch.nn.Embedding(10, 4, sparse=True), torch.zeros(4, requires_grad=True)
        (embedding(torch.tensor([1])) + bias).sum().backward()
        optimizer = optimizer_class([embedding.weight, bias], weight_decay=0.1)
        with pytest.raises(RuntimeError, match=message):
            optimizer.step()


def test_tensor_subclasses_go_one_by_one() -> None:
    called: list[str] = []

    class Recorded(Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            called.append(getattr(func, "__name__", str(func)))
            return super().__torch_function__(func, types, args, kwargs)

    params = [param.detach().as_subclass(Recorded).requires_grad_() for param in tensors()]
    plain = tensors()
    train(SGD(params, lr=0.1, momentum=0.9), params, range(3))
    train(torch.optim.SGD(plain, lr=0.1, momentum=0.9), plain, range(3))
    assert_same([param.as_subclass(Tensor) for param in params], plain)
    assert "add_" in called
    assert not any("foreach" in name for name in called)


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
