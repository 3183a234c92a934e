r"""The LSTM in place: as few operations a step as possible, in memory that is allocated once.

Every gate needs one exponential, :math:`e^z` with :math:`z = (-a_i, -a_f, 2 a_g, -a_o)`; the factors are in the rows of
the weights. One pass over all gates takes it, adds 1 and inverts: :math:`\sigma(a) = 1 / (e^{-a} + 1)`, and
:math:`\tanh a = (e^{2a} - 1) / (e^{2a} + 1)`, whose numerator is ``expm1``, lest it cancel near 0. Cells are carried
doubled, as their tanh takes them.

Going back, all gradients of a step are multiples of :math:`\bar c_t` and :math:`\bar m_t`. The factors are computed for
many steps at once, in the memory in which the gradients will be.
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
    x: Tensor,
    states: tuple[Tensor, Tensor],
    weights: tuple[Tensor, Tensor],
    biases: tuple[Maybe, Maybe],
    weight_hr: Maybe,
    steps: Steps,
) -> tuple[Tensor, ...]:
    """Returns hidden states, final states, and of each step the gates, the cell and its tanh."""
    if steps.single:  # one step alone has nothing to prepare for
        return NotImplemented
    units, numbers = states[1].shape[1], Numbers.like(x)
    factors = x.new_tensor([-1.0, -1.0, 2.0, -1.0]).repeat_interleave(units)
    weight_ih, weight_hh = [w * factors.unsqueeze(1) for w in weights]
    pre = input_projection(x, weight_ih, *(None if b is None else b * factors for b in biases))
    across = transposed(weight_hh, steps)

    def run(rows: Rows, states: States, steps: Steps) -> tuple[Rows, States]:
        (gates,), (h0, c0) = rows, states
        y, cells, squashed = [x.new_empty(gates.shape[0], n) for n in (h0.shape[1], units, units)]
        h, c, buffer = Carry(h0), Carry(c0 + c0), torch.empty_like(c0)
        whole, size = x.new_empty(h0.shape[0], 4 * units), -1
        for gate, next_c, tanh_c, next_h in steps.walk(gates, cells, squashed, y):
            if gate.shape[0] != size:
                size = gate.shape[0]
                z, u = whole[:size], buffer[:size]
                i, f, g, o = z.split(units, 1)
            torch.addmm(gate, h.rows(size), across, out=z)
            torch.expm1(torch.minimum(g, numbers.limit, out=g), out=u)
            z.exp_().add_(numbers.one)
            g.div_(u)  # the inverse, exactly 1 or -1 where saturated, so that the slope is 0
            z.reciprocal_()
            gate.copy_(z)
            torch.mul(f, c.rows(size), out=next_c).addcmul_(i, g, value=2)
            tanh_of_half_(next_c, u, tanh_c, numbers)
            if weight_hr is None:
                torch.mul(tanh_c, o, out=next_h)
            else:
                torch.mm(tanh_c * o, weight_hr.t(), out=next_h)
            h.state, c.state = next_h, next_c
        ends = h.final(), c.final() * 0.5
        return (y, gates, cells.mul_(0.5), squashed), ends

    (y, *saved), (h, c) = in_chunks(run, (pre,), states, steps)
    return y, h.clone(), c, *saved


def backward(
    grads: Sequence[Tensor], weights: tuple[Tensor, Maybe], saved: Sequence[Tensor], steps: Steps, needs_h0: bool
) -> tuple[Tensor, Maybe, Tensor, Tensor]:
    """Returns the gradients of pre-activations, of hidden states if they are projected, and of the initial states."""
    if steps.single:  # one step alone has nothing to prepare for
        return NotImplemented
    weight_hh, weight_hr = weights
    (grad_y, grad_h, grad_c), (gates, before, squashed) = grads, saved
    units = before.shape[1]

    def run(rows: Rows, states: States, steps: Steps) -> tuple[Rows, States]:
        (grad_y, gates, squashed, before), (grad_h, grad_c) = rows, states
        d, dh = torch.empty_like(gates), torch.empty_like(grad_y if weight_hr is not None else grad_h)
        h, c, product = Carry(grad_h), Carry(grad_c.clone()), torch.empty_like(grad_h)
        # Each gate's gradient is a multiple of one state's.
        whole, size = grad_c.new_empty(grad_c.shape[0], 4, units), -1
        for part, few in steps.tiles(tile(steps, 4 * units)):
            i, f, g, o = gates[part].split(units, 1)
            d_i, d_f, d_g, d_o = d[part].split(units, 1)
            torch.sub(1, gates[part], out=d[part]).mul_(gates[part])
            d_i.mul_(g)
            d_f.mul_(before[part])
            tanh_slope_(g, d_g).mul_(i)
            d_o.mul_(squashed[part])
            to_cell = tanh_slope_(squashed[part], torch.empty_like(squashed[part])).mul_(o)
            projected = () if weight_hr is None else (dh[part],)
            for grad, delta, f_t, slope, *total in few.walk(grad_y[part], d[part], f, to_cell, *projected):
                if grad.shape[0] != size:
                    size = grad.shape[0]
                    by_gate = whole[:size].view(size, 4 * units)
                    of_cell, dm = whole[:size, :3], whole[:size, 3]
                dc = c.rows(size)
                if weight_hr is None:
                    torch.add(grad, h.rows(size), out=dm)
                else:
                    torch.mm(torch.add(grad, h.rows(size), out=total[0]), weight_hr, out=dm)
                dc.addcmul_(dm, slope)
                of_cell.copy_(dc.unsqueeze(1))
                delta.mul_(by_gate)
                h.state = torch.mm(delta, weight_hh, out=head(product, size))
                c.state = dc.mul_(f_t)
        return (d, dh) if weight_hr is not None else (d,), (h.final(), c.final())

    (d, *dh), ends = in_chunks(run, (grad_y, gates, squashed, before), [grad_h, grad_c], steps.back)
    return d, dh[0] if dh else None, ends[0], ends[1]
