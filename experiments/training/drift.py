"""How far two networks drift apart that started alike and learn from the same batches with the same dropout."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from experiments.training.learner import Learner
from scratchnet.testing.watch import Watch, Writer

__all__ = ["Drift", "relative_difference"]


def relative_difference(custom: Tensor, builtin: Tensor) -> float:
    """‖custom − builtin‖ / ‖builtin‖, and 0 where both are 0."""
    scale = torch.linalg.vector_norm(builtin).clamp(min=torch.finfo(builtin.dtype).tiny)
    return (torch.linalg.vector_norm(custom - builtin) / scale).item()


class Drift:
    """Measures how far the losses, gradients and weights of two networks differ, and where their layers part.

    Attributes:
        largest: The largest relative difference so far of ``loss``, ``gradients`` and ``weights``.
    """

    def __init__(self, custom: Learner, builtin: Learner) -> None:
        self.custom, self.builtin = custom, builtin
        self.largest = {"loss": 0.0, "gradients": 0.0, "weights": 0.0}
        self.watch = Watch(custom.model, builtin.model)

    def write_departure(self, step: int, writer: Writer) -> None:
        """Writes where the layers of the two part after a step."""
        self.watch.writer = writer
        self.watch.measure(step)

    def look(self, whether: bool) -> None:
        """Looks at the coming forward passes, or not: keeping all outputs of a layer takes time."""
        self.watch.looking = whether

    def measure(self, custom_loss: float, builtin_loss: float, *, by_parameter: bool) -> dict[str, Any]:
        """The differences after a step: of the losses, and of gradients and weights by name of parameter."""
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
