"""Measures a module's outputs in a forward hook: mean, standard deviation, dead units, saturated outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from scratchnet.inspection import tensors
from scratchnet.monitor.processes import Unreadable, plain
from scratchnet.monitor.wrappers import Part, class_names

__all__ = ["Call", "OutputProbe", "is_watched", "summarize"]

RECTIFIERS = ("ReLU", "ReLU6", "LeakyReLU", "PReLU", "RReLU")
# These move values about or drop some; their outputs say nothing that the module before them does not.
UNINTERESTING = ("Dropout", "Flatten", "Identity", "Unflatten")
FLAT = 0.97
SELU_FLOOR = -1.7580993408473766  # scale · alpha of S. Klambauer et al., "Self-normalizing neural networks"


class Call(NamedTuple):
    """The figures of one call of one module, left on its device: reading them here would stall a GPU."""

    elements: int
    mean: Tensor
    variance: Tensor
    units: int
    dead: Tensor | None
    saturated: Tensor | None


class OutputProbe:
    """A forward hook that appends one `Call` per training pass to a list.

    Passes in evaluation mode and without gradients are not training, and are left out. A copy of the probe,
    which ``copy.deepcopy`` and ``pickle`` make along with the module that it hangs on, does nothing.
    """

    def __init__(
        self,
        calls: list[Call] | None = None,
        root: nn.Module | None = None,
        part: nn.Module | None = None,
        channels_first: bool = False,
        whole: bool = False,
        unread: Callable[[Exception], None] | None = None,
    ) -> None:
        self.calls, self.root, self.part, self.channels_first = calls, root, part, channels_first
        self.whole, self.unread = whole, unread

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """Measures the first tensor of the output; never changes it, and never raises."""
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return
        if self.calls is None or self.root is None or not (self.root.training and torch.is_grad_enabled()):
            return
        try:
            values = next(filter(_is_batch, tensors(output)), None)
            if values is None:
                raise Unreadable("no batch of floating-point numbers")
            self.calls.append(_measure(self.part or module, plain(values, self.whole), self.channels_first))
        except Exception as error:
            if self.unread is not None:
                self.unread(error)

    def __reduce__(self) -> tuple[type[OutputProbe], tuple[()]]:
        return OutputProbe, ()


def is_watched(part: Part) -> bool:
    """Whether a module's outputs are worth a curve: it computes something itself, not by its children."""
    module, name = part.module, f".{part.name}."
    if ".parametrizations." in name or any(kind.startswith(UNINTERESTING) for kind in class_names(module)):
        return False
    children = [child for child, _ in module.named_children() if child != "parametrizations"]
    return not children or next(module.parameters(recurse=False), None) is not None


def summarize(calls: Sequence[Call]) -> dict[str, float]:
    """The figures of all calls in a step, by group of tags: each call counts by its elements or its units."""
    elements = [call.elements for call in calls]
    means = [float(call.mean) for call in calls]
    mean = _average(means, elements)
    # Each call's variance about the common mean: E[x²] - E[x]² would cancel where the mean is large. And a
    # product, since a power of Python numbers raises OverflowError where outputs have exploded.
    spreads = [float(call.variance) + (m - mean) * (m - mean) for call, m in zip(calls, means, strict=True)]
    figures = {"outputs_mean": mean, "outputs_std": math.sqrt(_average(spreads, elements))}
    if calls[0].dead is not None:
        dead = [float(call.dead) for call in calls if call.dead is not None]
        figures["units_dead"] = _average(dead, [call.units for call in calls])
    if calls[0].saturated is not None:
        saturated = [float(call.saturated) for call in calls if call.saturated is not None]
        figures["units_saturated"] = _average(saturated, elements)
    return figures


@torch.no_grad()
def _measure(module: nn.Module, values: Tensor, channels_first: bool) -> Call:
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    batch = values if values.ndim > 1 else values.unsqueeze(0)
    axis = 1 if batch.ndim > 3 or (batch.ndim == 3 and channels_first) else batch.ndim - 1
    dead = saturated = None
    if _kind(module, RECTIFIERS) is not None:
        # Of a maximum that is NaN this says "alive": what is wrong there shows in the mean.
        highest = batch.amax(dim=[d for d in range(batch.ndim) if d != axis])
        dead = (highest <= 0).float().mean()
    if (ends := _flat_ends(module)) is not None:
        saturated = ((values < ends[0]) | (values > ends[1])).float().mean()
    mean, variance = values.mean(), values.var(correction=0)  # `var_mean` is 20 times slower on a CPU
    return Call(values.numel(), mean, variance, batch.shape[axis], dead, saturated)


def _flat_ends(module: nn.Module) -> tuple[float, float] | None:
    """Below and above which outputs an activation's slope is next to nothing, for the activations known."""
    match _kind(module, ("Tanh", "Sigmoid", "ELU", "CELU", "SELU")):
        case "Tanh":
            return -FLAT, FLAT
        case "Sigmoid":
            return 1 - FLAT, FLAT
        case "ELU" | "CELU" if isinstance(alpha := getattr(module, "alpha", 1.0), int | float):
            return -FLAT * alpha, math.inf
        case "SELU":
            return FLAT * SELU_FLOOR, math.inf
    return None


def _kind(module: nn.Module, names: Sequence[str]) -> str | None:
    """The first of a module's classes that bears one of the names, so that a user's subclass counts too."""
    return next((kind.__name__ for kind in type(module).__mro__ if kind.__name__ in names), None)


def _is_batch(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.layout is torch.strided and tensor.ndim > 0 and tensor.numel() > 0


def _average(values: Sequence[float], weights: Sequence[int]) -> float:
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)
