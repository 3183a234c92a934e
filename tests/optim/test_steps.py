"""The steps of scratchnet.optim are those of torch.optim, bit for bit, however they are cut."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from optimizer_runs import (
    OPTIMIZERS,
    Make,
    assert_same,
    assert_same_run,
    every_optimizer,
    every_option,
    has_tensors,
    tensors,
    train,
)
from torch import Tensor
from torch.optim import Optimizer

from scratchnet.optim import SGD, base


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.complex64], ids=str)
@pytest.mark.parametrize("foreach", [None, True, False])
@every_option
def test_steps_are_bit_equal(name: str, options: dict[str, Any], foreach: bool | None, dtype: torch.dtype) -> None:
    if foreach and name != "SGD" and has_tensors(options):
        foreach = None  # refused: test_bad_options_are_refused_as_in_torch

    def run(optimizer_class: Make) -> tuple[Optimizer, list[Tensor]]:
        params = tensors(dtype)
        optimizer = optimizer_class(params, **{"lr": 0.1, **options}, foreach=foreach)
        train(optimizer, params, range(7))
        return optimizer, params

    assert_same_run(name, run)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.complex64], ids=str)
@every_option
def test_cutting_into_tiles_leaves_no_trace(
    name: str, options: dict[str, Any], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(optimizer_class: Make) -> tuple[Optimizer, list[Tensor]]:
        params = tensors(dtype, [(129,), (10, 10), (20,), (9,), (2, 50, 4, 4), (1001,)])
        optimizer = optimizer_class(params, **{"lr": 0.1, **options})
        train(optimizer, params, range(4))
        return optimizer, params

    monkeypatch.setattr(base, "TILE", 50)
    assert_same_run(name, run)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("name", "options"), [("SGD", {"momentum": 0.9, "nesterov": True}), ("Adam", {"amsgrad": True})], ids=str
)
def test_a_tensor_of_several_full_tiles_is_bit_equal(
    name: str, options: dict[str, Any], dtype: torch.dtype
) -> None:
    def run(optimizer_class: Make) -> tuple[Optimizer, list[Tensor]]:
        params = tensors(dtype, [(2 * base.TILE + 12345,)])
        optimizer = optimizer_class(params, lr=0.1, weight_decay=0.1, **options)
        train(optimizer, params, range(2))
        return optimizer, params

    assert_same_run(name, run)


def test_tiles_hold_every_element_once_and_are_about_one_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "TILE", 50)
    sizes = (30, 20, 1, 40, 99, 100, 149, 1000)
    rows: list[base.Row] = [(torch.zeros(size), torch.zeros(size)) for size in sizes]
    tiles = base.tiles(rows)
    lengths = [[param.numel() for param, _ in tile] for tile in tiles]
    assert lengths == [[30, 20], [1, 40], [50], [50], [75], [74], *[[50]] * 20, [99]]
    for tile in tiles:
        for row in tile:
            for tensor in row:
                tensor += 1
    assert all(bool((tensor == 1).all()) for row in rows for tensor in row)


def test_a_batch_has_one_device_and_one_dtype() -> None:
    kinds = [(device, dtype) for device in ("cpu", "meta") for dtype in (torch.float32, torch.float64)]
    rows: list[base.Row] = [(torch.empty(3, device=device, dtype=dtype),) * 2 for device, dtype in kinds * 2]
    batches = base.batches(rows)
    assert [{(p.device.type, p.dtype) for p, _ in batch} for batch in batches] == [{kind} for kind in kinds]
    assert [len(batch) for batch in batches] == [2, 2, 2, 2]


def test_an_update_of_one_operation_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "TILE", 50)
    rows: list[base.Row] = [(torch.zeros(1000), torch.zeros(1000))]
    assert base.batches(rows, cut=False) == [rows]
    assert len(base.batches(rows)) == 20


@pytest.mark.parametrize(
    ("name", "options", "others"),
    [
        ("SGD", {"momentum": 0.9, "nesterov": True}, [{"momentum": 0}, {"nesterov": False, "dampening": 0.5}]),
        ("Adam", {"betas": (0.8, 0.9)}, [{"betas": (0.5, 0.9)}, {"amsgrad": True, "eps": 0.1}]),
        ("AdamW", {"amsgrad": True}, [{"amsgrad": False}, {"eps": 0.1, "weight_decay": 0}]),
    ],
    ids=str,
)
def test_groups_keep_their_own_options(name: str, options: dict[str, Any], others: list[dict[str, Any]]) -> None:
    def run(optimizer_class: Make) -> tuple[Optimizer, list[Tensor]]:
        params = tensors()
        optimizer = optimizer_class(
            [
                {"params": params[:2], "lr": 0.5, **others[0]},
                {"params": params[2], "weight_decay": 0.1, "foreach": False},
                {"params": params[3:5], "maximize": True, **others[1]},
            ],
            lr=0.1,
            **options,
        )
        train(optimizer, params, range(3))
        optimizer.add_param_group({"params": params[5:], "lr": 0.2})
        train(optimizer, params, range(3, 6))
        return optimizer, params

    assert_same_run(name, run)


@every_optimizer
def test_mixed_dtypes_share_a_group(name: str) -> None:
    def run(optimizer_class: Make) -> tuple[Optimizer, list[Tensor]]:
        params = tensors(torch.float32) + tensors(torch.bfloat16) + tensors(torch.float64)
        optimizer = optimizer_class(params, lr=0.1, weight_decay=0.1)
        train(optimizer, params, range(4))
        return optimizer, params

    assert_same_run(name, run)


@every_optimizer
def test_named_parameters_keep_their_names(name: str) -> None:
    params = tensors()
    optimizer = OPTIMIZERS[name][1]([(f"p{i}", param) for i, param in enumerate(params)], lr=0.1)
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == [f"p{i}" for i in range(len(params))]


@pytest.mark.parametrize("foreach", [None, True, False])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "nesterov": True}, {"maximize": True}], ids=str)
def test_sparse_gradients_are_bit_equal(options: dict[str, Any], foreach: bool | None) -> None:
    def run(optimizer_class: Make) -> Tensor:
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
    for optimizer_class, message in zip(OPTIMIZERS["SGD"], ("not supported", "with weight_decay=0"), strict=True):
        embedding, bias = torch.nn.Embedding(10, 4, sparse=True), torch.zeros(4, requires_grad=True)
        (embedding(torch.tensor([1])) + bias).sum().backward()
        optimizer = optimizer_class([embedding.weight, bias], weight_decay=0.1)
        with pytest.raises(RuntimeError, match=message):
            optimizer.step()


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_a_sparse_gradient_has_no_averages(name: str) -> None:
    for optimizer_class in OPTIMIZERS[name]:
        embedding, bias = torch.nn.Embedding(10, 4, sparse=True), torch.zeros(4, requires_grad=True)
        (embedding(torch.tensor([1])) + bias).sum().backward()
        with pytest.raises(RuntimeError, match=r"does not support sparse gradients.*SparseAdam"):
            optimizer_class([bias, embedding.weight]).step()
        assert not bias.any()


@every_optimizer
def test_tensor_subclasses_go_one_by_one(name: str) -> None:
    called: list[str] = []

    class Recorded(Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            called.append(getattr(func, "__name__", str(func)))
            return super().__torch_function__(func, types, args, kwargs)

    params = [param.detach().as_subclass(Recorded).requires_grad_() for param in tensors()]
    plain = tensors()
    theirs, ours = OPTIMIZERS[name]
    train(ours(params, lr=0.1), params, range(3))
    train(theirs(plain, lr=0.1), plain, range(3))
    assert_same([param.as_subclass(Tensor) for param in params], plain)
    assert {"add_", "addcdiv_"} & set(called)
    assert not any("foreach" in name for name in called)
