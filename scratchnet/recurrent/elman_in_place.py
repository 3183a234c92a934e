r"""The Elman network in place: as few operations a step as possible, in memory that is allocated once.

The weights are doubled for :math:`\tanh a = (e^{2a} - 1) / (e^{2a} + 1)`. Going back, the slopes are computed for many
steps at once, in the memory in which the gradients will be.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.recurrent.chunks import Rows, States, in_chunks
from scratchnet.recurrent.in_place import Numbers, head, tanh_of_half_, tanh_slope_, tile, transposed
from scratchnet.recurrent.steps import Carry, Steps, input_projection

__all__ = ["backward", "forward"]

Maybe = Tensor | None


def forward(
    x: Tensor, h0: Tensor, weights: tuple[Tensor, Tensor], biases: tuple[Maybe, Maybe], steps: Steps, relu: bool
) -> tuple[Tensor, Tensor]:
    """Returns states, and the final one."""
    if steps.single:  # one step alone has nothing to prepare for
        return NotImplemented
    weight_ih, weight_hh = weights if relu else [w * 2 for w in weights]
    pre = input_projection(x, weight_ih, *(b if b is None or relu else b * 2 for b in biases))
    across, numbers = transposed(weight_hh, steps), Numbers.like(x)

    def run(rows: Rows, states: States, steps: Steps) -> tuple[Rows, States]:
        h, buffer = Carry(states[0]), torch.empty_like(states[0])
        for (now,) in steps.walk(*rows):
            now.addmm_(h.rows(now.shape[0]), across)
            if relu:
                now.clamp_(min=0)
            else:
                tanh_of_half_(now, head(buffer, now.shape[0]), now, numbers)
            h.state = now
        return rows, (h.final(),)

    (y,), (h,) = in_chunks(run, (pre,), (h0,), steps)
    return y, h.clone()


def backward(
    grads: Sequence[Tensor], y: Tensor, weight_hh: Tensor, steps: Steps, relu: bool, needs_h0: bool
) -> tuple[Tensor, Tensor]:
    """Returns the gradients of the pre-activations and of the initial state."""
    if steps.single:  # one step alone has nothing to prepare for
        return NotImplemented

    def run(rows: Rows, states: States, steps: Steps) -> tuple[Rows, States]:
        (grad_y, y), (grad_h,) = rows, states
        d, h = torch.empty_like(y), Carry(grad_h)
        product, buffer = torch.empty_like(grad_h), torch.empty_like(grad_h)
        for part, few in steps.tiles(tile(steps, y.shape[1])):
            slopes = y[part] <= 0 if relu else tanh_slope_(y[part], d[part])
            for grad, delta, slope in few.walk(grad_y[part], d[part], slopes):
                size = grad.shape[0]
                if relu:
                    torch.add(grad, h.rows(size), out=delta).masked_fill_(slope, 0)
                else:
                    delta.mul_(torch.add(grad, h.rows(size), out=head(buffer, size)))
                h.state = torch.mm(delta, weight_hh, out=head(product, size))
        return (d,), (h.final(),)

    (d,), (grad_h0,) = in_chunks(run, (grads[0], y), (grads[1],), steps.back)
    return d, grad_h0
