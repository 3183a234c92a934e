"""Watches two networks that should be one: where their outputs and gradients part, layer by layer, in TensorBoard.

=============================  ====================================================================
tag                            what it shows
=============================  ====================================================================
``twin_output/LAYER``          largest difference of a layer's output, relative to its largest value
``twin_gradient/LAYER``        the same of the gradients of its parameters
``twin_output_cosine/LAYER``   1 − cosine of the angle between the outputs
``twin_gradient_cosine/LAYER`` the same of the gradients
``twin/first_departure``       the number of the first layer, in the order of the forward pass, whose
                               output differs by more than the tolerance; −1 where none does
=============================  ====================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

__all__ = ["Departure", "Watch", "watch"]

TOLERANCE = 1e-3


class Writer(Protocol):
    """The method of `torch.utils.tensorboard.SummaryWriter` that is used."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> Any:
        """Writes a scalar."""


@dataclass(frozen=True)
class Departure:
    """The differences between two networks at one step.

    Attributes:
        outputs: by layer, in the order of the forward pass, the largest difference relative to the largest value.
        gradients: by layer, the same of the gradients of its own parameters.
        output_cosines: by layer, 1 − cosine.
        gradient_cosines: by layer, 1 − cosine.
        first: the first layer whose output differs by more than the tolerance.
    """

    outputs: dict[str, float]
    gradients: dict[str, float]
    output_cosines: dict[str, float]
    gradient_cosines: dict[str, float]
    first: str | None


class Watch:
    """Keeps the last outputs of both networks' layers; a context manager, which takes its hooks away again.

    Args:
        custom: the network under test.
        builtin: the one that it should equal, with layers of the same names.
        writer: gets the scalars; without one `measure` only returns them.
        tolerance: beyond which relative difference a layer's output counts as departed.

    Raises:
        ValueError: if the two have no layers of the same names.
    """

    def __init__(
        self, custom: nn.Module, builtin: nn.Module, writer: Writer | None = None, *, tolerance: float = TOLERANCE
    ) -> None:
        self.writer, self.tolerance = writer, tolerance
        self.layers = [dict(_layers(model)) for model in (custom, builtin)]
        if set(self.layers[0]) != set(self.layers[1]):
            odd = sorted(set(self.layers[0]) ^ set(self.layers[1]))
            raise ValueError(
                f"watch: expected both networks to have layers of the same names, got {odd} in one alone"
            )
        self.outputs: list[dict[str, Tensor]] = [{}, {}]
        self.handles: list[RemovableHandle] = []
        self.looking = True

    @property
    def looking(self) -> bool:
        """Whether the outputs of passes are kept; where they are not no hook is there, which could slow them down."""
        return bool(self.handles)

    @looking.setter
    def looking(self, whether: bool) -> None:
        if whether == self.looking:
            return
        for handle in self.handles:
            handle.remove()
        self.handles = [
            layer.register_forward_hook(self._keep(side, name))
            for side, layers in enumerate(self.layers)
            for name, layer in (layers.items() if whether else ())
        ]

    def _keep(self, side: int, name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple | list) and output else output
            if module.training and isinstance(first, Tensor):
                # Taken out first, so that the order is that of this pass.
                self.outputs[side].pop(name, None)
                self.outputs[side][name] = first.detach().clone()

        return hook

    @torch.no_grad()
    def measure(self, step: int) -> Departure:
        """Compares the last forward and backward pass of both, and writes what it finds.

        Call it after both have gone through the same batch, while their gradients are still there.
        """
        outputs, gradients = {}, {}
        first: str | None = None
        for name, ours in self.outputs[0].items():
            theirs = self.outputs[1].get(name)
            if theirs is not None and ours.shape == theirs.shape:
                outputs[name] = _apart(ours, theirs)
                if first is None and not outputs[name][0] <= self.tolerance:
                    first = name
        for name, layer in self.layers[0].items():
            pairs = [
                (a.grad.flatten(), b.grad.flatten())
                for a, b in zip(
                    layer.parameters(recurse=False), self.layers[1][name].parameters(recurse=False), strict=True
                )
                if a.grad is not None and b.grad is not None
            ]
            if pairs:
                ours, theirs = (torch.cat(side) for side in zip(*pairs, strict=True))
                gradients[name] = _apart(ours, theirs)
        result = Departure(
            outputs={name: largest for name, (largest, _) in outputs.items()},
            gradients={name: largest for name, (largest, _) in gradients.items()},
            output_cosines={name: cosine for name, (_, cosine) in outputs.items()},
            gradient_cosines={name: cosine for name, (_, cosine) in gradients.items()},
            first=first,
        )
        self._write(result, step)
        return result

    def _write(self, found: Departure, step: int) -> None:
        if self.writer is None:
            return
        groups = {
            "twin_output": found.outputs,
            "twin_gradient": found.gradients,
            "twin_output_cosine": found.output_cosines,
            "twin_gradient_cosine": found.gradient_cosines,
        }
        for group, values in groups.items():
            for name, value in values.items():
                self.writer.add_scalar(f"{group}/{name}", value, step)
        place = -1 if found.first is None else list(found.outputs).index(found.first)
        self.writer.add_scalar("twin/first_departure", place, step)

    def close(self) -> None:
        """Takes the hooks away."""
        self.looking = False
        self.outputs = [{}, {}]

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def watch(custom: nn.Module, builtin: nn.Module, writer: Writer | None = None, **options: Any) -> Watch:
    """Watches two networks train that should be one and the same; see `Watch`.

    Example:
        >>> import torch
        >>> ours, theirs = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
        >>> _ = ours.load_state_dict(theirs.state_dict())
        >>> x = torch.randn(4, 3)
        >>> with watch(ours, theirs) as twins:
        ...     for model in (ours, theirs):
        ...         model(x).sum().backward()
        ...     found = twins.measure(step=1)
        >>> found.outputs, found.first
        ({'network': 0.0}, None)
    """
    return Watch(custom, builtin, writer, **options)


def _layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules that compute, those without others in them or with parameters of their own."""
    found = [
        (name or "network", module)
        for name, module in model.named_modules()
        if not any(True for _ in module.children()) or any(True for _ in module.parameters(recurse=False))
    ]
    return found


def _apart(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """The largest difference relative to the largest value, and 1 − cosine."""
    if not ours.numel():
        return 0.0, 0.0
    a, b = ours.double().flatten(), theirs.double().flatten()
    largest = float((a - b).abs().max() / b.abs().max().clamp(min=torch.finfo(theirs.dtype).tiny))
    lengths = float(a.norm() * b.norm())
    if not lengths:
        return largest, float(bool(a.any()) != bool(b.any()))
    # 1 − cosine from the difference of directions, which does not cancel: ‖a/‖a‖ − b/‖b‖‖² / 2.
    return largest, float((a / a.norm() - b / b.norm()).square().sum() / 2)
