r"""The GRU in place: as few operations a step as possible, in memory that is allocated once.

The weights' rows take the signs and the factor that the exponentials need: :math:`\sigma(a) = 1 / (e^{-a} + 1)` and
:math:`\tanh a = (e^{2a} - 1) / (e^{2a} + 1)`. Going back, all gradients of a step are multiples of :math:`\bar h_t`;
their factors are computed for many steps at once, in the memory in which the gradients will be.
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
    x: Tensor, h0: Tensor, weights: tuple[Tensor, Tensor], biases: tuple[Maybe, Maybe], steps: Steps
) -> tuple[Tensor, ...]:
    """Returns states, the final one, and of each step the gates, the new state and q."""
    if steps.single:  # one step alone has nothing to prepare for
        return NotImplemented
    units = h0.shape[1]
    gates, new = slice(0, 2 * units), slice(2 * units, 3 * units)
    weight_ih, weight_hh = weights
    bias_new, bias_state = [None if b is None else b[new] for b in biases]
    pre_gates = input_projection(x, -weight_ih[gates], *(None if b is None else -b[gates] for b in biases))
    pre_new = input_projection(x, 2 * weight_ih[new], None if bias_new is None else 2 * bias_new)
    gates_across, new_across = transposed(-weight_hh[gates], steps), transposed(weight_hh[new], steps)
    numbers = Numbers.like(x)

    def run(rows: Rows, states: States, steps: Steps) -> tuple[Rows, States]:
        (gates, new), (h0,) = rows, states
        y, shares = torch.empty_like(new), torch.empty_like(new)
        h, buffer = Carry(h0), torch.empty_like(h0)
        for rz, r, z, n, q, next_h in steps.walk(gates, *gates.split(units, 1), new, shares, y):
            size = n.shape[0]
            before = h.rows(size)
            rz.addmm_(before, gates_across).exp_().add_(numbers.one).reciprocal_()
            if bias_state is None:
                torch.mm(before, new_across, out=q)
            else:
                torch.addmm(bias_state, before, new_across, out=q)
            n.addcmul_(r, q, value=2)
            tanh_of_half_(n, head(buffer, size), n, numbers)
            h.state = torch.lerp(n, before, z, out=next_h)
        return (y, gates, new, shares), (h.final(),)

    (y, *saved), (h,) = in_chunks(run, (pre_gates, pre_new), (h0,), steps)
    return y, h.clone(), *saved


def backward(
    grads: Sequence[Tensor],
    before: Tensor,
    weight_hh: Tensor,
    saved: Sequence[Tensor],
    steps: Steps,
    needs_h0: bool,
) -> tuple[Tensor, ...]:
    """Returns the gradients of the input's product, of the state's, and of the initial state."""
    if steps.single:  # one step alone has nothing to prepare for
        return NotImplemented
    (grad_y, grad_h), units = grads, weight_hh.shape[1]

    def run(rows: Rows, states: States, steps: Steps) -> tuple[Rows, States]:
        (grad_y, before, gates, new, q), (grad_h,) = rows, states
        from_input, from_state = gates.new_empty(2, gates.shape[0], 3 * units)
        h, product, buffer = Carry(grad_h), torch.empty_like(grad_h), torch.empty_like(grad_h)
        for part, few in steps.tiles(tile(steps, 4 * units)):
            r, z = gates[part].split(units, 1)
            d_r, d_z, d_q = from_state[part].split(units, 1)
            d_n = from_input[part, 2 * units :]
            torch.sub(1, gates[part], out=from_state[part, : 2 * units]).mul_(gates[part])
            torch.sub(1, z, out=d_n).mul_(tanh_slope_(new[part], d_q))
            d_z.mul_(torch.sub(before[part], new[part], out=d_q))
            d_r.mul_(q[part]).mul_(d_n)
            torch.mul(d_n, r, out=d_q)
            by_gate = from_state[part].view(d_n.shape[0], 3, units)
            for grad, delta, gradients, dn, keep in few.walk(grad_y[part], from_state[part], by_gate, d_n, z):
                size = grad.shape[0]
                dh = torch.add(grad, h.rows(size), out=head(buffer, size))
                gradients.mul_(dh.unsqueeze(1))
                dn.mul_(dh)
                h.state = torch.mm(delta, weight_hh, out=head(product, size)).addcmul_(dh, keep)
            from_input[part, : 2 * units] = from_state[part, : 2 * units]
        return (from_input, from_state), (h.final(),)

    (from_input, from_state), (grad_h0,) = in_chunks(run, (grad_y, before, *saved), (grad_h,), steps.back)
    return from_input, from_state, grad_h0
