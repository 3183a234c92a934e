"""How much of the gradient is left at each step of its way back through time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from experiments.chapters.sequences.networks import Reader

__all__ = ["gradient_through_time"]


def gradient_through_time(
    reader: Reader, inputs: Tensor, targets: Tensor, criterion: Callable[[Tensor, Tensor], Tensor]
) -> dict[str, list[float]]:
    r"""Mean over sequences of :math:`\|\partial L / \partial h_t\|`, for every time t; of an LSTM's cell too.

    The network reads element by element here, so that each state is a tensor of its own, and what autograd brings
    it is the whole derivative: through the answer and through all states that follow.

    Args:
        reader: The network; its parameters' gradients stay as they are.
        inputs: Sequences, (B, T, …), as the network reads them.
        targets: Their answers.
        criterion: The loss, a mean over the batch.

    Returns:
        The norms by the name of the state: ``"h"``, and of an LSTM ``"c"``, at all times but the last.
    """
    state: Any = None
    kept: dict[str, list[Tensor]] = {"h": [], "c": []}
    # cuDNN goes back only through networks in training mode, which a monitor may be watching.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        for element in reader.embedding(inputs).split(1, 1):
            _, state = reader.recurrent(element, state)
            for name, tensor in zip("hc", state if isinstance(state, tuple) else (state,), strict=False):
                kept[name].append(tensor)
        states = torch.stack([h[0] for h in kept["h"]], 1)
        loss = criterion(reader.answer(states), targets)
        del kept["c"][-1:]  # nothing reads the last cell any more
        gradients = torch.autograd.grad(loss, [*kept["h"], *kept["c"]])
    norms = [len(inputs) * gradient[0].norm(dim=1).mean().item() for gradient in gradients]
    times = len(kept["h"])
    return {"h": norms[:times]} | ({"c": norms[times:]} if kept["c"] else {})
