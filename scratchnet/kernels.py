"""Compiled kernels for large eager calls, on demand.

    import scratchnet.kernels
    scratchnet.kernels.enable()          # or set SCRATCHNET_KERNELS=1

From then on the formula of an elementwise or row-by-row op, forward or backward, is compiled by `torch.compile` when it
is first called on a large tensor, and runs as one kernel, which reads its inputs once and writes its outputs once.
Nothing else changes: the ops stay autograd Functions with the same backward passes. A kernel takes about a second to
compile the first time, and some tenths of a second when it is found in torch's cache on the disk. Calls on fewer than
`LARGE` elements do without: what a kernel gains there, its call costs.

Off by default: it needs a C++ compiler.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache
from math import isfinite
from typing import Any

import torch
from torch import Tensor

__all__ = ["LARGE", "disable", "enable", "enabled", "kernel"]

LARGE = 2**18

_state = {"enabled": False}


def enable() -> None:
    """Compiles the formulas of large calls from now on, in all threads.

    Raises:
        RuntimeError: if there is no C++ compiler.
    """
    from torch._inductor import cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler as error:
        raise RuntimeError(
            "expected a C++ compiler, found none; install g++ or clang, or set CXX to one"
        ) from error
    _state["enabled"] = True


def disable() -> None:
    """Runs all calls without compiled kernels from now on; those that are compiled are kept."""
    _state["enabled"] = False


def enabled() -> bool:
    """Returns whether large calls are compiled."""
    return _state["enabled"]


def kernel(
    function: Callable[..., Any], tensors: Sequence[Tensor | None], options: Mapping[str, Any]
) -> Callable[..., Any] | None:
    """Returns ``function(*tensors, **options)`` compiled, a function of these tensors; None if it is to run as it is.

    A kernel is made for the options and for each rank and dtype of the tensors, which are contiguous, and serves all
    sizes above 1.
    """
    # The compiler skips a call inside a mode, and then refuses it for good.
    if not _state["enabled"] or torch._C._len_torch_dispatch_stack():
        return None
    given = [t for t in tensors if t is not None]
    if max(t.numel() for t in given) < LARGE or not all(t.is_contiguous() for t in given):
        return None
    if not all(
        isinstance(x, bool | int | str | tuple) or (isinstance(x, float) and isfinite(x)) for x in options.values()
    ):
        return None
    kinds = tuple(None if t is None else _specialized(t) for t in tensors)
    return _compiled(function, kinds, tuple(options.items()))


def _specialized(tensor: Tensor) -> Hashable:
    """Returns what the compiler makes another kernel for: it does not count these against its bound here."""
    base = tensor._base
    ones = tuple(size == 1 for size in tensor.shape)
    return tensor.dtype, tensor.requires_grad, None if base is None else base.dim(), ones


@cache
def _compiled(
    function: Callable[..., Any], _: Hashable, options: tuple[tuple[str, Any], ...]
) -> Callable[..., Any]:
    # A function of its own for each kernel, since the compiler bounds the kernels of one. The options are in its code:
    # numbers that are arguments are kept symbolic, and a kernel from the disk cache had another call's.
    names: dict[str, Any] = {"function": function}
    given = ", ".join(f"{name}={value!r}" for name, value in options)
    exec(f"def call(*tensors):\n    return function(*tensors, {given})", names)
    return torch.compile(names["call"], dynamic=True, fullgraph=True)


if os.environ.get("SCRATCHNET_KERNELS", "0") not in ("", "0"):
    enable()
