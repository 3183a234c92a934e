"""Fresh buffers full of NaN, so that an element which nobody writes shows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["FreshMemoryIsNaN"]

UNWRITTEN = {
    torch.ops.aten.empty.memory_format,
    torch.ops.aten.empty_like.default,
    torch.ops.aten.empty_strided.default,
    torch.ops.aten.new_empty.default,
    torch.ops.aten.new_empty_strided.default,
    torch.ops.aten.resize_.default,
}


class FreshMemoryIsNaN(TorchDispatchMode):
    """While active, what `torch.empty` and its relatives return holds NaN, or the largest integer."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operation, and fills what it left unwritten."""
        result = func(*args, **(kwargs or {}))
        if func in UNWRITTEN and isinstance(result, Tensor):
            if result.is_floating_point() or result.is_complex():
                result.fill_(float("nan"))
            elif result.dtype is not torch.bool:
                result.fill_(torch.iinfo(result.dtype).max)
        return result
