"""Who is watching an op: autograd, a transform, a tracer or the compiler, or nobody."""

from __future__ import annotations

import threading

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd import forward_ad

__all__ = ["batched", "readable", "thread", "traced", "transformed", "unobserved"]

_MODE = torch._C._TorchDispatchModeKey
TRACERS = (_MODE.FAKE, _MODE.FUNCTIONAL, _MODE.PROXY)


def _leaf_or_ours(tracer: fx.Tracer, module: nn.Module, name: str) -> bool:
    """Whether fx takes a module for one node, as it does those of ``torch.nn``, by the package of their class."""
    ours = type(module).__module__.startswith("scratchnet.") and not isinstance(module, nn.Sequential)
    return ours or _is_leaf(tracer, module, name)


_is_leaf = fx.Tracer.is_leaf_module
fx.Tracer.is_leaf_module = _leaf_or_ours  # type: ignore[assignment, method-assign]


class Thread(threading.local):
    """Whether this thread runs a backward over batched upstreams, which no transform stack shows."""

    batched = False


thread = Thread()


def transformed() -> bool:
    """Whether a `torch.func` transform or a forward-mode level is active."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def unobserved() -> bool:
    """Whether nothing records the operations, so that in-place and blocked code cannot be seen from outside.

    False while autograd builds a graph (a differentiable backward), under `torch.func` transforms, for batched
    upstreams (``is_grads_batched``), in forward mode, while ``make_fx`` or `torch.jit.trace` takes down a graph,
    and while `torch.compile` traces, which fuses the plain form better than we could.
    """
    return not (
        torch.compiler.is_compiling() or torch.is_grad_enabled() or transformed() or thread.batched or traced()
    )


def traced() -> bool:
    """Whether a graph is made of the operations, or fake tensors stand in for their results."""
    if torch._C._get_tracing_state() is not None:
        return True
    if not torch._C._len_torch_dispatch_stack():
        return False
    return any(torch._C._get_dispatch_mode(tracer) is not None for tracer in TRACERS)


def readable(tensor: Tensor) -> bool:
    """Whether values can be read, to check them: not where a graph is traced, or a device has to be waited for."""
    return (
        tensor.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not transformed()
        and not traced()
        and not isinstance(tensor, FakeTensor)
    )


def batched(tensor: Tensor) -> bool:
    """Whether `torch.func.vmap` maps over the tensor."""
    while not torch.compiler.is_compiling() and torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        if torch._C._functorch.is_batchedtensor(tensor):
            return True
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return False
