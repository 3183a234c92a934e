"""Turns the modules that torch's constructors make into ours, with the parameters that these drew."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from scratchnet import functional as F

__all__ = ["adopting"]

ACTIVATIONS: dict[Any, Callable[..., torch.Tensor]] = {nn.functional.relu: F.relu, nn.functional.gelu: F.gelu}


def adopting(constructor: Callable[..., None], *classes: type[nn.Module]) -> Callable[..., None]:
    """Wraps a constructor of torch's: submodules of torch's classes become the given ones, which derive from these."""
    ours = {next(base for base in c.__mro__ if base.__module__.startswith("torch.")): c for c in classes}

    @functools.wraps(constructor)
    def construct(self: nn.Module, *arguments: Any, **options: Any) -> None:
        with warnings.catch_warnings():
            # Which of torch's fast paths a transformer cannot take; ours takes none.
            warnings.filterwarnings("ignore", "enable_nested_tensor is True")
            constructor(self, *arguments, **options)
        for module in self.modules():
            module.__class__ = ours.get(type(module), type(module))
            activation = getattr(module, "activation", None)
            for builtin, custom in ACTIVATIONS.items():
                if activation is builtin:
                    module.activation = custom  # type: ignore[assignment]  # a function

    return construct
