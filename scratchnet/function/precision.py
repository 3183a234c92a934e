"""The dtypes of a call: what `torch.autocast` wants, what an op computes in, what its outputs are rounded to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from scratchnet.arguments import autocasts

__all__ = ["AS_GIVEN", "LOW_PRECISION", "Autocast", "Precision", "outside_autocast", "precision_of"]

LOW_PRECISION = (torch.float16, torch.bfloat16)

Autocast = Literal["low_precision", "low_precision_on_cuda", "float32", "float32_on_cuda", "widest"]
Maybe = Tensor | None


class Precision(NamedTuple):
    """The dtypes of one call: what it computes in, and what its outputs are rounded to."""

    compute: torch.dtype | None
    output: torch.dtype | None

    def enter(self, tensor: Maybe) -> Maybe:
        """The tensor in the dtype of the computation."""
        if self.compute is None or tensor is None or not tensor.is_floating_point():
            return tensor
        return tensor.to(self.compute)

    def leave(self, tensor: Tensor) -> Tensor:
        """An output, rounded once."""
        return tensor if self.output is None or not tensor.is_floating_point() else tensor.to(self.output)


AS_GIVEN = Precision(None, None)


def precision_of(inputs: Sequence[Maybe], autocast: Autocast | None, native_low_precision: bool) -> Precision:
    """The dtype policy of one call: autocast first, then float32 for what is too short to compute in."""
    dtype, mixed = None, False
    for tensor in inputs:
        if tensor is not None and tensor.is_floating_point():
            if dtype is None:
                dtype = tensor.dtype
            elif tensor.dtype is not dtype:
                mixed = True
    if dtype is None:
        return AS_GIVEN
    target = None
    if autocast is not None and not _no_autocast():
        floating = [t for t in inputs if t is not None and t.is_floating_point()]
        target = _autocast_target(autocast, floating, mixed)
    output = target or dtype
    if output in LOW_PRECISION and not native_low_precision:
        return Precision(torch.float32, output)
    return Precision(output, output) if mixed or target is not None else AS_GIVEN


def _no_autocast() -> bool:
    """Whether no device has autocast on, which is asked in no time; the compiler has to ask for each device."""
    return not torch.compiler.is_compiling() and not torch._C._is_any_autocast_enabled()


def _autocast_target(policy: Autocast, floating: Sequence[Tensor], mixed: bool) -> torch.dtype | None:
    """The dtype that `torch.autocast` wants for a call, None where it has no say."""
    device = floating[0].device.type
    if not autocasts(floating[0]) or any(t.dtype is torch.float64 for t in floating):
        return None
    if policy == "low_precision" or (policy == "low_precision_on_cuda" and device == "cuda"):
        return torch.get_autocast_dtype(device)
    if policy == "float32" or (policy == "float32_on_cuda" and device == "cuda") or (policy == "widest" and mixed):
        return torch.float32
    return None


def outside_autocast(mathematics: Callable[..., Any], tensors: Sequence[Maybe]) -> Callable[..., Any]:
    """The author's code, called with the tensors' autocast off, which has had its say in the arguments' dtypes."""
    if _no_autocast():
        return mathematics
    first = next(t for t in tensors if t is not None)
    if not autocasts(first):
        return mathematics

    def call(*arguments: Any, **options: Any) -> Any:
        with torch.autocast(first.device.type, enabled=False):
            return mathematics(*arguments, **options)

    return call
