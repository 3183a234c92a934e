"""Max pooling that always returns indices, under PyTorch's names for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec

from torch import Tensor

from scratchnet.arguments import overridable
from scratchnet.pooling.adaptive_pooling import adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d
from scratchnet.pooling.fractional_pooling import fractional_max_pool2d, fractional_max_pool3d
from scratchnet.pooling.max_pooling import max_pool1d, max_pool2d, max_pool3d

__all__ = [
    "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d_with_indices",
    "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d_with_indices",
    "max_pool1d_with_indices",
    "max_pool2d_with_indices",
    "max_pool3d_with_indices",
]

P = ParamSpec("P")


def _with_indices(form: Callable[P, Any]) -> Callable[P, tuple[Tensor, Tensor]]:
    """Returns the function with ``return_indices`` fixed to True."""
    position = list(signature(form).parameters).index("return_indices")

    @wraps(form)
    def pooled(*args: P.args, **kwargs: P.kwargs) -> tuple[Tensor, Tensor]:
        if len(args) > position:
            return form(*args[:position], True, *args[position + 1 :], **kwargs)  # type: ignore[arg-type]
        return form(*args, **{**kwargs, "return_indices": True})  # type: ignore[arg-type]

    pooled.__name__ = pooled.__qualname__ = f"{form.__name__}_with_indices"
    pooled.__module__ = __name__
    pooled.__doc__ = f"Calls `{form.__name__}` with ``return_indices=True``, whatever is passed for it."
    return overridable(pooled)


max_pool1d_with_indices = _with_indices(max_pool1d)
max_pool2d_with_indices = _with_indices(max_pool2d)
max_pool3d_with_indices = _with_indices(max_pool3d)
adaptive_max_pool1d_with_indices = _with_indices(adaptive_max_pool1d)
adaptive_max_pool2d_with_indices = _with_indices(adaptive_max_pool2d)
adaptive_max_pool3d_with_indices = _with_indices(adaptive_max_pool3d)
fractional_max_pool2d_with_indices = _with_indices(fractional_max_pool2d)
fractional_max_pool3d_with_indices = _with_indices(fractional_max_pool3d)
