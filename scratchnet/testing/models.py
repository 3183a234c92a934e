"""Holds a whole model against another one, layer by layer: a port against its original, ours against torch's."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from scratchnet.inspection import tensors
from scratchnet.testing.subject import mapped
from scratchnet.testing.tolerances import same_bits

__all__ = ["LayerRow", "ModelComparison", "compare_models"]

RTOL = 1e-9


@dataclass(frozen=True)
class LayerRow:
    """One quantity of both models.

    Attributes:
        quantity: ``"activation"``, ``"gradient of activation"``, ``"parameter"``, ``"gradient of parameter"``
            or ``"output"``.
        name: of the layer or the parameter, as ours has it; outputs are numbered.
        difference: the largest in float64, relative to the largest element of theirs, or to 1 where that is larger;
            infinite if one side has none, or another shape.
        in_float32: the same in float32; None if the models do not run there.
        note: what is missing or of another shape.
    """

    quantity: str
    name: str
    difference: float
    in_float32: float | None = None
    note: str = ""


@dataclass(frozen=True)
class ModelComparison:
    """The result of `compare_models`; ``str()`` of it is a table.

    Attributes:
        rows: parameters, then activations and outputs in the order of the forward pass, then gradients in the order of
            the backward pass.
        rtol: the difference in float64 that counts as none.
        unmatched: layers that only one of the models has, or calls.
    """

    rows: tuple[LayerRow, ...]
    rtol: float
    unmatched: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[LayerRow, ...]:
        """The rows that differ, in the order in which the passes come to them."""
        return tuple(row for row in self.rows if not row.difference <= self.rtol)

    @property
    def ok(self) -> bool:
        """Whether everything agrees."""
        return not self.failures

    @property
    def departs(self) -> str:
        """Where the models first depart, in words; empty if they do not."""
        if self.ok:
            return ""
        first = self.failures[0]
        when = "before" if first.quantity == "parameter" else "in"
        which = "backward" if "gradient" in first.quantity else "forward"
        return f"{when} the {which} pass, at {first.quantity} {first.name}"

    def __str__(self) -> str:
        count = len(self.rows)
        head = (
            f"equal: {count} quantities within {self.rtol:g}"
            if self.ok
            else (f"{len(self.failures)} of {count} quantities differ, first {self.departs}")
        )
        lines = [head, *self.unmatched]
        for row in self.failures[:10]:
            short = "" if row.in_float32 is None else f", {row.in_float32:.1e} in float32"
            lines.append(f"{row.quantity} {row.name}: " + (row.note or f"{row.difference:.1e} in float64{short}"))
        if len(self.failures) > 10:
            lines.append(f"and {len(self.failures) - 10} more")
        return "\n".join(lines)


def compare_models(
    ours: nn.Module,
    theirs: nn.Module,
    *inputs: Any,
    map: Mapping[str, str] | None = None,
    rtol: float = RTOL,
    seed: int = 0,
    **options: Any,
) -> ModelComparison:
    """Compares two models layer by layer: parameters, activations, outputs, and all their gradients.

    Both run on copies in float64 and, where they can, in float32, from the same random state. The gradients start from
    random ones of the outputs. Layers and parameters are matched by name. Neither model is changed.

    Args:
        ours: the model to judge.
        theirs: the model that it should equal, with the same weights.
        *inputs: positional arguments of both.
        map: names of theirs by names of ours, of layers or parameters, where they differ; the name of a layer stands
            for everything below it.
        rtol: which difference in float64 counts as none, relative to the largest element, or to 1.
        seed: of the random state and of the outputs' gradients.
        **options: keyword arguments of both.

    Returns:
        A `ModelComparison`, whose ``departs`` names the first layer that differs, and in which pass.

    Raises:
        TypeError: if either is no module.

    Example:
        >>> import copy, torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.GELU(), torch.nn.Linear(3, 2))
        >>> port = copy.deepcopy(model)
        >>> port[1] = torch.nn.GELU("tanh")
        >>> compare_models(port, model, torch.randn(2, 4)).departs
        'in the forward pass, at activation 1'
    """
    for model in (ours, theirs):
        if not isinstance(model, nn.Module):
            raise TypeError(f"compare_models: expected two torch.nn.Modules, got {type(model).__name__}")
    names = dict(map or {})
    wide = [_Pass(model, inputs, options, torch.float64, seed) for model in (ours, theirs)]
    try:
        short = [_Pass(model, inputs, options, torch.float32, seed) for model in (ours, theirs)]
    except Exception:  # whatever a model raises that does not run in float32
        short = []
    rows: list[LayerRow] = []
    unmatched: list[str] = []
    for quantity, own in wide[0].found.items():
        other = wide[1].found[quantity]
        for name, tensor in own.items():
            counterpart = _mapped(name, names)
            if counterpart not in other:
                unmatched.append(f"only ours: {quantity} {name}")
                continue
            difference, note = _difference(tensor, other[counterpart])
            in_float32 = None
            if short:
                in_float32 = _difference(
                    short[0].found[quantity].get(name), short[1].found[quantity].get(counterpart)
                )[0]
            rows.append(LayerRow(quantity, name, difference, in_float32, note))
        matched = {_mapped(name, names) for name in own}
        unmatched += [f"only theirs: {quantity} {name}" for name in other if name not in matched]
    return ModelComparison(tuple(rows), rtol, tuple(unmatched))


class _Pass:
    """A forward and a backward pass of a copy of a model, with everything that it made.

    Attributes:
        found: tensors by quantity and name, in the order in which the passes come to them.
    """

    def __init__(
        self, model: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any], dtype: torch.dtype, seed: int
    ) -> None:
        model = copy.deepcopy(model).to(dtype)
        values: dict[str, Tensor | None] = {}
        gradients: dict[str, Tensor | None] = {}

        def keep(name: str) -> Any:
            def hook(module: nn.Module, arguments: Any, output: Any) -> None:
                for i, y in enumerate(_outputs(output)):
                    key = f"{name}, output {i}" if i else name
                    while key in values:  # of a module that is called again
                        key += "'"
                    values[key] = y.detach().clone()  # which a later module may overwrite
                    if y.requires_grad:
                        y.register_hook(partial(gradients.__setitem__, key))

            return hook

        for name, module in model.named_modules():
            if name and not isinstance(module, torch.jit.ScriptModule):
                module.register_forward_hook(keep(name))
        inputs, options = (mapped(partial(_converted, dtype=dtype), given) for given in (inputs, options))
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            outputs = _outputs(model(*inputs, **options))
        generator = torch.Generator().manual_seed(seed)
        upstream = [torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y) for y in outputs]
        parameters = dict(model.named_parameters())
        recorded = [i for i, y in enumerate(outputs) if y.requires_grad]
        if recorded:
            torch.autograd.backward([outputs[i] for i in recorded], [upstream[i] for i in recorded])
        of_parameters = [(name, p.grad) for name, p in parameters.items() if p.requires_grad]
        self.found: dict[str, dict[str, Tensor | None]] = {
            "parameter": {name: p.detach() for name, p in parameters.items()},
            "activation": values,
            "output": {str(i): y.detach() for i, y in enumerate(outputs)},
            "gradient of activation": gradients,
            "gradient of parameter": dict(reversed(of_parameters)),
        }


def _converted(x: Any, dtype: torch.dtype) -> Any:
    """A tensor on memory of its own, in the dtype if it is floating point."""
    if not isinstance(x, Tensor):
        return x
    own = x.detach().clone().to(dtype if x.is_floating_point() else x.dtype)
    return own.requires_grad_(x.requires_grad)


def _outputs(output: Any) -> list[Tensor]:
    return [y for y in tensors(output) if y.is_floating_point()]


def _mapped(name: str, names: Mapping[str, str]) -> str:
    """Theirs by ours: by its own name, or that of the closest layer above it that has another one."""
    layer = name
    while layer not in names and "." in layer:
        layer = layer.rpartition(".")[0]
    return names[layer] + name[len(layer) :] if layer in names else name


def _difference(own: Tensor | None, other: Tensor | None) -> tuple[float, str]:
    """The largest difference relative to the largest element of the other, or to 1; and what is wrong otherwise."""
    if own is None or other is None:
        return (0.0, "") if own is other else (math.inf, "only one side has it")
    if own.shape != other.shape:
        return math.inf, f"shape {tuple(own.shape)}, expected {tuple(other.shape)}"
    if own.numel() == 0 or same_bits(own, other):
        return 0.0, ""
    scale = max(1.0, float(other.abs().max()))
    largest = float((own - other).abs().max())
    return (largest / scale if math.isfinite(largest) else math.inf), ""
