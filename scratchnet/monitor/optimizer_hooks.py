"""Hooks before and after the steps of optimizers, which come and go without a compilation.

`torch.compile` compiles a step for the keys of its hooks. A hook that is registered anew at each watched step has a
new key each time, and soon the compiler gives up; so these are registered once, and return under the same key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

__all__ = ["OptimizerHooks"]

Listener = Callable[[Optimizer], None]


class OptimizerHooks:
    """Calls what it is given by `attach` before and after each step, until `detach`; not inside a compiled one.

    Attributes:
        failures: Errors of optimizers that take no hooks.
    """

    def __init__(self, optimizers: Sequence[Optimizer]) -> None:
        self.before: Listener | None = None
        self.after: Listener | None = None
        self.failures: list[Exception] = []
        self._handles: list[tuple[Any, Any]] = []
        for optimizer in optimizers:
            try:
                self._handles.append((optimizer.register_step_pre_hook(self._before), self._before))
                self._handles.append((optimizer.register_step_post_hook(self._after), self._after))
            except AttributeError as error:  # its constructor did not call that of torch.optim.Optimizer
                self.failures.append(error)
        self.detach()

    def attach(self, before: Listener, after: Listener) -> None:
        """Puts the hooks on."""
        self.before, self.after = before, after
        for handle, hook in self._handles:
            if (hooks := handle.hooks_dict_ref()) is not None:
                hooks[handle.id] = hook

    def detach(self) -> None:
        """Takes the hooks off."""
        self.before = self.after = None
        for handle, _ in self._handles:
            handle.remove()

    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not torch.compiler.is_compiling() and self.before is not None:
            self.before(optimizer)

    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not torch.compiler.is_compiling() and self.after is not None:
            self.after(optimizer)
