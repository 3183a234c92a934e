"""Entries of the zoo: a named model of a library, made small, and its inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

__all__ = ["Entry", "Subject", "normal", "thin"]


@dataclass(frozen=True)
class Subject:
    """A model and what it is called with."""

    model: nn.Module
    inputs: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A model that can be tried.

    Attributes:
        name: the library and the model, such as ``torchvision.resnet18``.
        make: builds it with random weights.
        usual: whether it is tried if no name is given.
    """

    name: str
    make: Callable[[], Subject]
    usual: bool = True


def thin(model: nn.Module, keep: int = 2) -> nn.Module:
    """Shortens each run of equal layers in a Sequential to the first two, and returns the model.

    Layers are equal if they are of the same classes and have parameters of the same shapes.
    """
    for module in model.modules():
        if not isinstance(module, nn.Sequential):
            continue
        kept: dict[str, nn.Module] = {}
        last, run = None, 0
        for name, child in module.named_children():
            kind = [(type(m), [p.shape for p in m.parameters(recurse=False)]) for m in child.modules()]
            run, last = run + 1 if kind == last and list(child.parameters()) else 1, kind
            if run <= keep:
                kept[str(len(kept)) if name.isdigit() else name] = child
        module._modules = dict(kept)
    return model


def normal(*shape: int) -> torch.Tensor:
    """Returns normal values, the same ones each time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))
