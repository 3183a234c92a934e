"""What every optimizer here does: run closures, walk the groups, and update tensors in lists.

A list of tensors spares one Python call per tensor and operation, and :func:`batches` cuts it so that on a CPU the
operations on one piece find it, and memory for it, at hand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

__all__ = ["TILE", "ListOptimizer", "Row", "batches", "fits_a_list", "tiles"]

# Elements of one piece of work on a CPU: small enough for a large last-level cache, and for the allocator to
# hand the same temporary out again without page faults; large enough that waking the threads costs little.
TILE = 2**21
# CPU kernels for narrower dtypes round list operations, and the last few elements of a range, differently.
_EXACT = (torch.float32, torch.float64)

Row = tuple[Tensor, ...]  # a parameter, its gradient, and the optimizer's state for it


class ListOptimizer(Optimizer):
    """An optimizer that updates lists of tensors, has no fused kernel and never writes to ``p.grad``."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group, to be optimized from the next step on.

        Args:
            param_group: The parameters under ``"params"``, beside any options that differ from the defaults.

        Raises:
            RuntimeError: If the group asks for ``fused``.
        """
        super().add_param_group(param_group)
        if param_group["fused"]:
            self.param_groups.pop()
            raise RuntimeError(
                f"scratchnet's {type(self).__name__} has no fused kernel, got fused=True; leave fused out: "
                "the default already updates tensors in lists and in cache-sized tiles"
            )

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickled or loaded state, filling in the options that it is too old to have."""
        super().__setstate__(state)
        for group in self.param_groups:
            for option in ("maximize", "differentiable"):
                group.setdefault(option, False)
            group.setdefault("foreach", None)
            if group.setdefault("fused", False):
                group["fused"] = None

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Perform a single optimization step.

        Args:
            closure: Reevaluates the model, computes the gradients and returns the loss.

        Returns:
            What ``closure`` returned, or ``None`` without one.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            for group in self.param_groups:
                self._step_group(group)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        """Update the parameters of a group; each optimizer has its own rule."""
        raise NotImplementedError


def fits_a_list(param: Tensor, grad: Tensor, foreach: bool | None) -> bool:
    """Whether to update the tensor in a list; its subclass or layout may know no list operations."""
    if foreach is False or type(param) not in (Tensor, torch.nn.Parameter) or grad.layout != torch.strided:
        return False
    return foreach is True or param.dtype in _EXACT or not param.is_cpu


def batches(rows: list[Row], *, cut: bool = True) -> list[list[Row]]:
    """Cut the work into lists of tensors that are best updated together; only by device and dtype if not ``cut``."""
    if not rows:
        return []
    if torch.compiler.is_compiling():
        return [rows]
    alike: defaultdict[tuple[torch.device, torch.dtype], list[Row]] = defaultdict(list)
    for row in rows:
        param = row[0]
        alike[param.device, param.dtype].append(row)
    found: list[list[Row]] = []
    for (device, _), group in alike.items():
        found += tiles(group) if cut and device.type == "cpu" else [group]
    return found


def tiles(rows: list[Row]) -> list[list[Row]]:
    """Cut large tensors into tiles, and group small ones, until each batch has about ``TILE`` elements."""
    found: list[list[Row]] = []
    batch: list[Row] = []
    left = TILE
    for row in rows:
        numel = row[0].numel()
        count = numel // TILE
        if count > 1 and all(tensor.dtype in _EXACT and tensor.is_contiguous() for tensor in row):
            found += [[tile] for tile in zip(*(tensor.view(-1).chunk(count) for tensor in row), strict=True)]
            continue
        if numel > left and batch:
            found.append(batch)
            batch, left = [], TILE
        batch.append(row)
        left -= numel
    if batch:
        found.append(batch)
    return found
