"""The parts of a network and their parameters, under the names that they have without any wrapper.

`torch.compile`, DistributedDataParallel, checkpointing and FullyShardedDataParallel put a module of their own
around another, and a component of their own into its name (``_orig_mod``, ``module``); curves of runs with and
without them are to be compared, so those components are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.parameter import is_lazy

__all__ = ["Part", "class_names", "layer_of", "parts", "trainable"]

INSIDE = "_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"


class Part(NamedTuple):
    """A module of the network.

    Attributes:
        name: Its name in the network; the name of its class for the network itself.
        module: The module, without wrappers.
        called: What is called in its place, which is where a hook goes.
        closed: Why no hook sees its outputs; empty if one does.
    """

    name: str
    module: nn.Module
    called: nn.Module
    closed: str


def parts(network: nn.Module) -> list[Part]:
    """All modules of a network, each once, in the order of `torch.nn.Module.named_modules`."""
    return list(_parts(network, "", "", set()))


def _parts(called: nn.Module, name: str, closed: str, seen: set[nn.Module]) -> Iterator[Part]:
    module, inside = called, closed
    while (inner := _wrapped(module)) is not None:
        if "_orig_mod" in module._modules:
            inside = "inside a compiled module"
        module = inner
    if module in seen:
        return
    seen.add(module)
    if isinstance(module, torch.jit.ScriptModule):
        closed = inside = "inside a scripted or traced module"
    elif module._compiled_call_impl is not None:
        closed = inside = "inside a compiled module"
    yield Part(name or next(class_names(module)), module, called, closed)
    for child_name, child in module.named_children():
        yield from _parts(child, f"{name}.{child_name}" if name else child_name, inside, seen)


def _wrapped(module: nn.Module) -> nn.Module | None:
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return module.module
    return next((module._modules[name] for name in INSIDE if name in module._modules), None)


def class_names(module: nn.Module) -> Iterator[str]:
    """The names of a module's classes, but for those that `fully_shard` and parametrizations make at run time."""
    for kind in type(module).__mro__:
        if not any(kind.__name__ in (f"FSDP{b.__name__}", f"Parametrized{b.__name__}") for b in kind.__bases__):
            yield kind.__name__


def trainable(network: Sequence[Part]) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters that training changes; a shared one counts once, under its first name."""
    seen: set[nn.Parameter] = set()
    for i, part in enumerate(network):
        for name, parameter in part.module.named_parameters(recurse=False):
            if parameter in seen or not parameter.requires_grad or is_lazy(parameter) or not parameter.numel():
                continue
            seen.add(parameter)
            yield (f"{part.name}.{name}" if i else name), parameter


def layer_of(parameter: str, network: Sequence[Part]) -> str:
    """The name of the layer that holds a parameter; a parametrization counts to the layer that it is for."""
    layer, found, _ = f".{parameter}".partition(".parametrizations.")
    return (layer if found else layer.rpartition(".")[0])[1:] or network[0].name
