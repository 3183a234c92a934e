"""`torch.func.vjp` where a transform is under way, without the second that its first call takes to import the compiler.

Elsewhere plain autograd does the same, and takes Functions without a ``setup_context`` too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch._functorch import eager_transforms

__all__ = ["vjp"]


def vjp(function: Callable[..., Any], *at: Tensor) -> tuple[Any, Callable[..., tuple[Tensor, ...]]]:
    """The same as `torch.func.vjp`, for one call of the pullback."""
    if not torch._C._are_functorch_transforms_active():
        leaves = [x.detach().requires_grad_() for x in at]
        with torch.enable_grad():
            found = function(*leaves)
        return tuple(y.detach() for y in found), lambda given: _gradients(found, leaves, given, create_graph=False)
    outputs, back, *_ = torch.func.vjp(function, *at)

    def pull(given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        with _without_compiler():
            return tuple(back(given))

    return outputs, pull


@contextmanager
def _without_compiler() -> Iterator[None]:
    """Takes gradients without first turning compiled autograd off, which is off as long as nothing imported it."""
    if "torch._dynamo" in sys.modules or not hasattr(eager_transforms, "_autograd_grad"):
        yield
        return
    with patch.object(eager_transforms, "_autograd_grad", _gradients):
        yield


def _gradients(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    grad_outputs: Sequence[Tensor],
    retain_graph: bool = False,
    create_graph: bool = True,
) -> tuple[Tensor, ...]:
    """What `torch.func` takes gradients with: zeros where an output does not depend on an input."""
    pairs = [(y, g) for y, g in zip(outputs, grad_outputs, strict=True) if y.requires_grad]
    found: Sequence[Tensor | None] = [None] * len(inputs)
    if pairs:
        found = torch.autograd.grad(
            [y for y, _ in pairs],
            inputs,
            [g for _, g in pairs],
            retain_graph=retain_graph,
            create_graph=create_graph,
            allow_unused=True,
        )
    return tuple(torch.zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True))
