"""Tells what records an op's operations: autograd, a transform, a tracer or the compiler; or nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._C._functorch import is_legacy_batchedtensor
from torch.autograd import forward_ad

from scratchnet.tiling.program import rehearsing

__all__ = [
    "batched",
    "nested",
    "plainly",
    "readable",
    "recorded",
    "replayed",
    "reuse",
    "traced",
    "transformed",
    "usual",
]

_MODE = torch._C._TorchDispatchModeKey
TRACERS = (_MODE.FAKE, _MODE.FUNCTIONAL, _MODE.PROXY)


def _leaf_or_ours(tracer: fx.Tracer, module: nn.Module, name: str) -> bool:
    """Whether fx takes a module for one node, as it does those of ``torch.nn``, by the package of their class."""
    ours = type(module).__module__.startswith("scratchnet.") and not isinstance(module, nn.Sequential)
    return ours or _is_leaf(tracer, module, name)


_is_leaf = fx.Tracer.is_leaf_module
fx.Tracer.is_leaf_module = _leaf_or_ours  # type: ignore[assignment, method-assign]


class Thread(threading.local):
    """Whether this thread computes on tensors that only plain operations take: see `plainly`."""

    plain = False


_thread = Thread()
ORDINARY = (Tensor, nn.Parameter)
FLOATING, LABELS = (torch.float32, torch.float64), (torch.int64, torch.bool)


def usual(tensors: Iterable[Tensor | None]) -> bool:
    """Whether the author's code may run as it stands, which is quick to tell: plain tensors, and no autocast."""
    if torch.compiler.is_compiling() or torch._C._is_any_autocast_enabled():
        return False
    floating = False
    for t in tensors:
        if t is not None:
            if type(t) not in ORDINARY or is_legacy_batchedtensor(t):
                return False
            if t.dtype in FLOATING:
                floating = True
            elif t.dtype not in LABELS:
                return False
    return floating


def plainly(mathematics: Callable[..., Any], tensors: Iterable[Tensor | None]) -> Callable[..., Any]:
    """Returns the author's code, for which `recorded` is true where the tensors are not ordinary floating-point ones.

    Fast forms write with ``out=``, in place and through strides, and know the bits of floating-point numbers. What is
    complex or all integers, a tensor subclass (distributed, nested, fake) or a batch of upstreams, which no transform
    stack shows, takes the plain form.
    """
    if torch.compiler.is_compiling() or not _unusual(tensors):
        return mathematics

    def call(*arguments: Any, **options: Any) -> Any:
        before, _thread.plain = _thread.plain, True
        try:
            with _mixing(tensors):
                return mathematics(*arguments, **options)
        finally:
            _thread.plain = before

    return call


def _mixing(tensors: Iterable[Tensor | None]) -> AbstractContextManager[Any]:
    """Lets masks and constants that an op makes meet distributed tensors, as though all processes held them."""
    if not any(type(t).__name__ == "DTensor" for t in tensors):
        return nullcontext()
    from torch.distributed.tensor.experimental import implicit_replication

    return implicit_replication()


def _unusual(tensors: Iterable[Tensor | None]) -> bool:
    floating = False
    for t in tensors:
        if t is not None:
            if type(t) not in ORDINARY or t.is_complex() or is_legacy_batchedtensor(t):
                return True
            floating = floating or t.is_floating_point()
    return not floating


def transformed() -> bool:
    """Whether a `torch.func` transform or a forward-mode level is active."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def nested() -> bool:
    """Whether a `torch.func` transform is active inside of another."""
    return torch._C._functorch.get_dynamic_layer_stack_depth() > 1


def recorded() -> bool:
    """Whether something records the operations, so that an op must not write in place, nor tile by tile.

    True while autograd builds a graph (a differentiable backward), under `torch.func` transforms, in forward mode, for
    tensors that only plain operations take (see `plainly`), while ``make_fx`` or `torch.jit.trace` records a graph, and
    while `torch.compile` traces, which fuses the plain form better than we could.
    """
    return torch.is_grad_enabled() or torch.compiler.is_compiling() or transformed() or _thread.plain or traced()


def reuse(operation: Callable[..., Tensor], x: Tensor, *others: Any) -> Tensor:
    """Returns ``operation(x, *others)``, in the memory of ``x`` where nothing records it.

    Nobody else may read ``x``, which has the result's shape and dtype.
    """
    return operation(x, *others) if recorded() or rehearsing() else operation(x, *others, out=x)


def traced() -> bool:
    """Whether a graph is made of the operations, or fake tensors stand in for their results."""
    if torch._C._get_tracing_state() is not None:
        return True
    if not torch._C._len_torch_dispatch_stack():
        return False
    return any(torch._C._get_dispatch_mode(tracer) is not None for tracer in TRACERS)


def replayed() -> bool:
    """Whether autograd may differentiate the operations themselves, in place of the op's backward: a trace, an export.

    The derivatives of the plain form must then follow the op's conventions at kinks as well.
    """
    return torch._C._get_tracing_state() is not None or torch.compiler.is_exporting()


def readable(tensor: Tensor) -> bool:
    """Whether values can be read, to check them: not in traces, nor of tensor subclasses, nor on other devices."""
    return (
        tensor.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not transformed()
        and not _thread.plain
        and not traced()
        and type(tensor) in ORDINARY
    )


def batched(tensor: Tensor) -> bool:
    """Whether `torch.func.vmap` maps over the tensor."""
    while not torch.compiler.is_compiling() and torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        if torch._C._functorch.is_batchedtensor(tensor):
            return True
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return False
