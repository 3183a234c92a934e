"""Measures how two networks differ that start alike and train on the same batches with the same dropout."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from experiments.training.learner import Learner
from scratchnet.testing.watch import Watch, Writer

__all__ = ["Drift", "relative_difference"]


def relative_difference(custom: Tensor, builtin: Tensor) -> float:
    """Returns ‖custom − builtin‖ / ‖builtin‖, or 0 if both are 0."""
    scale = torch.linalg.vector_norm(builtin).clamp(min=torch.finfo(builtin.dtype).tiny)
    return (torch.linalg.vector_norm(custom - builtin) / scale).item()


class Drift:
    """Measures the differences of two networks' losses, gradients, weights and layer outputs.

    Attributes:
        largest: The largest relative differences so far of ``loss``, ``gradients`` and ``weights``.
    """

    def __init__(self, custom: Learner, builtin: Learner) -> None:
        self.custom, self.builtin = custom, builtin
        self.largest = {"loss": 0.0, "gradients": 0.0, "weights": 0.0}
        self.watch = Watch(custom.model, builtin.model)

    def write_departure(self, step: int, writer: Writer) -> None:
        """Writes which layers' outputs differ after a step."""
        self.watch.writer = writer
        self.watch.measure(step)

    def record(self, enabled: bool) -> None:
        """Switches the recording of layer outputs, which takes time, on or off for the next forward passes."""
        self.watch.looking = enabled

    def measure(self, custom_loss: float, builtin_loss: float, *, by_parameter: bool) -> dict[str, Any]:
        """Returns the differences after a step: of the losses, and of gradients and weights by parameter name."""
        loss = abs(custom_loss - builtin_loss) / max(abs(builtin_loss), torch.finfo(torch.float64).tiny)
        found: dict[str, Any] = {"loss": loss}
        self.largest["loss"] = max(self.largest["loss"], loss)
        if by_parameter:
            found["gradients"], found["weights"] = self._by_parameter()
            for kind in ("gradients", "weights"):
                self.largest[kind] = max(self.largest[kind], *found[kind].values())
        return found

    @torch.no_grad()
    def _by_parameter(self) -> tuple[dict[str, float], dict[str, float]]:
        gradients, weights = {}, {}
        theirs = dict(self.builtin.model.named_parameters())
        for name, ours in self.custom.model.named_parameters():
            their = theirs[name]
            weights[name] = relative_difference(ours, their)
            assert ours.grad is not None
            assert their.grad is not None
            gradients[name] = relative_difference(ours.grad, their.grad)
        return gradients, weights
