r"""The long short-term memory over whole sequences, and its back-propagation through time.

.. math::
    \begin{aligned}
    (i, f, g, o)_t &= (\sigma, \sigma, \tanh, \sigma)(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}) \\
    c_t &= f_t \odot c_{t-1} + i_t \odot g_t \\
    m_t &= o_t \odot \tanh c_t \\
    h_t &= m_t \quad \text{or, with a projection,} \quad W_{hr} m_t
    \end{aligned}

The cell c is carried on by a product with f and a sum: where f is near 1, so is its derivative, and a gradient
lives through many steps. With :math:`\bar h_t` and :math:`\bar c_t` for the gradients of the states, from their
own outputs and from the step after,

.. math::
    \begin{aligned}
    \bar m_t &= \bar h_t \quad \text{or} \quad W_{hr}^\top \bar h_t \\
    \bar c_t &\mathrel{+}= \bar m_t \odot o_t \odot (1 - \tanh^2 c_t) \\
    \delta_t &= \left(\bar c_t g_t\, i_t (1 - i_t),\; \bar c_t c_{t-1}\, f_t (1 - f_t),\;
                      \bar c_t i_t\, (1 - g_t^2),\; \bar m_t \tanh c_t\, o_t (1 - o_t)\right) \\
    \bar h_{t-1} &= W_{hh}^\top \delta_t, \qquad \bar c_{t-1} = \bar c_t \odot f_t
    \end{aligned}

Kept of each step: the four gates, the cell, and its hyperbolic tangent, which would take a fifth of the time of
the way back to compute again.

Shapes: x ``(N, I)`` in the order of `steps`, h0 ``(B, P)``, c0 ``(B, H)``, W_ih ``(4H, I)``, W_hh ``(4H, P)``,
W_hr ``(P, H)`` or none, where P = H; output ``(N, P)``.

Sources: S. Hochreiter and J. Schmidhuber, "Long short-term memory", 1997; F. A. Gers, J. Schmidhuber and
F. Cummins, "Learning to forget", 2000 (the forget gate); H. Sak, A. Senior and F. Beaufays, "Long short-term
memory based recurrent neural network architectures", 2014 (the projection).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.function import Function, recorded
from scratchnet.layout import matmul_like
from scratchnet.recurrent.gates import (
    sigmoid,
    sigmoid_,
    sigmoid_slope,
    sigmoid_slope_,
    tanh,
    tanh_,
    tanh_slope,
    tanh_slope_,
)
from scratchnet.recurrent.steps import (
    Carry,
    Steps,
    bias_gradients,
    previous,
    products_tangent,
    projection,
    recurrent_gradient,
    through_time,
)

__all__ = ["LSTMFunction"]


class LSTMFunction(Function):
    """All hidden states, the final one and the final cell. Keeps inputs, hidden states, gates, cells and their tanh."""

    autocast = "low_precision_on_cuda"

    @staticmethod
    def forward(
        x: Tensor,
        h0: Tensor,
        c0: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor | None,
        bias_hh: Tensor | None,
        weight_hr: Tensor | None,
        *,
        steps: Steps,
    ) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor | None, ...]]:
        """The input's share of all gates at once; then each step takes in the states before it."""
        pre = projection(x, weight_ih, bias_ih, bias_hh)
        run = _run if recorded() else _run_
        y, h_final, c_final, *kept = run(pre, h0, c0, weight_hh, weight_hr, steps)
        inputs = (x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, weight_hr)
        # The states that are saved are a copy, since a program may change the output in place.
        return (y, h_final, c_final), (*inputs, y.clone(), *kept)

    @staticmethod
    def backward(
        grad: Sequence[Tensor], saved: Sequence[Tensor], needs: Sequence[bool], *, steps: Steps
    ) -> tuple[Tensor | None, ...]:
        """Back through time to the pre-activations, and from all of them at once to what they were made of."""
        grad_y, grad_h_final, grad_c_final = grad
        x, h0, c0, weight_ih, weight_hh, _, _, weight_hr, y, gates, cells, squashed = saved
        h_carry, c_carry = Carry(grad_h_final), Carry(grad_c_final)
        run = _run_back if recorded() else _run_back_
        d, h_grads, c_grad = run(grad_y, gates, cells, squashed, c0, weight_hh, weight_hr, h_carry, c_carry, steps)
        first = steps.back(d)[-1][0]
        grad_x = matmul_like(x, d, weight_ih) if needs[0] else None
        grad_h0 = h_carry.final(matmul_like(h0, first, weight_hh)) if needs[1] else None
        grad_c0 = c_carry.final(c_grad) if needs[2] else None
        grad_weight_ih = d.t() @ x if needs[3] else None
        grad_weight_hh = recurrent_gradient(d, y, h0, steps) if needs[4] else None
        grad_bias_ih, grad_bias_hh = bias_gradients(d, needs[5:7])
        grad_weight_hr = None
        if needs[7]:
            grad_weight_hr = h_grads.t() @ (gates.chunk(4, 1)[3] * squashed)
        return grad_x, grad_h0, grad_c0, grad_weight_ih, grad_weight_hh, grad_bias_ih, grad_bias_hh, grad_weight_hr

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, steps: Steps) -> tuple[Tensor, Tensor, Tensor]:
        """Forward through time: the tangents of both states move with the states."""
        dx, dh0, dc0, dweight_ih, dweight_hh, dbias_ih, dbias_hh, dweight_hr = tangents
        x, h0, c0, weight_ih, weight_hh, _, _, weight_hr, y, gates, cells, squashed = saved
        pre = products_tangent(x, weight_ih, dx, dweight_ih, dbias_ih, dbias_hh)
        h_carry, c_carry = Carry(dh0), Carry(dc0)
        before = previous(y, h0, steps), previous(cells, c0, steps)
        walk = zip(steps.walk(pre, gates, squashed), *before, strict=True)
        dh: Tensor | None = None
        dc: Tensor | None = None
        found = []
        for (now, gate, tanh_c), h_before, c_before in walk:
            size = now.shape[0]
            through = h_carry.rows(dh, size) @ weight_hh.t() + h_before @ dweight_hh.t()
            i, f, g, o = gate.chunk(4, 1)
            da_i, da_f, da_g, da_o = (now + through).chunk(4, 1)
            di, df, dg, do = (
                da_i * sigmoid_slope(i),
                da_f * sigmoid_slope(f),
                da_g * tanh_slope(g),
                da_o * sigmoid_slope(o),
            )
            dc = df * c_before + f * c_carry.rows(dc, size) + di * g + i * dg
            dh = do * tanh_c + o * tanh_slope(tanh_c) * dc
            if weight_hr is not None:
                dh = dh @ weight_hr.t() + (o * tanh_c) @ dweight_hr.t()
            found.append(dh)
        assert dh is not None
        assert dc is not None
        return steps.join(found), h_carry.final(dh), c_carry.final(dc)


Run = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def _run(pre: Tensor, h0: Tensor, c0: Tensor, weight: Tensor, projection: Tensor | None, steps: Steps) -> Run:
    """Hidden states, final states, gates, cells and their tanh, in operations that can be differentiated."""
    hidden, gates, cells, squashed = [], [], [], []
    h_carry, c_carry = Carry(h0), Carry(c0)
    h: Tensor | None = None
    c: Tensor | None = None
    for (now,) in steps.walk(pre):
        size = now.shape[0]
        a_i, a_f, a_g, a_o = torch.addmm(now, h_carry.rows(h, size), weight.t()).chunk(4, 1)
        i, f, g, o = sigmoid(a_i), sigmoid(a_f), tanh(a_g), sigmoid(a_o)
        c = f * c_carry.rows(c, size) + i * g
        tanh_c = tanh(c)
        h = o * tanh_c if projection is None else (o * tanh_c) @ projection.t()
        hidden.append(h)
        gates.append(torch.cat((i, f, g, o), 1))
        cells.append(c)
        squashed.append(tanh_c)
    assert h is not None
    assert c is not None
    final = h_carry.final(h), c_carry.final(c)
    return steps.join(hidden), *final, steps.join(gates), steps.join(cells), steps.join(squashed)


def _run_(gates: Tensor, h0: Tensor, c0: Tensor, weight: Tensor, projection: Tensor | None, steps: Steps) -> Run:
    """The same with the gates in place of the pre-activations."""
    units = c0.shape[1]
    rows = gates.shape[0]
    y, cells, squashed = h0.new_empty(rows, h0.shape[1]), c0.new_empty(rows, units), c0.new_empty(rows, units)
    h_carry, c_carry = Carry(h0), Carry(c0)
    h: Tensor | None = None
    c: Tensor | None = None
    across = weight.t()
    for now, i, f, g, o, next_c, tanh_c, next_h in steps.walk(gates, *gates.chunk(4, 1), cells, squashed, y):
        size = now.shape[0]
        now.addmm_(h_carry.rows(h, size), across)
        tanh_g = tanh_(g, tanh_c)
        sigmoid_(now)
        g.copy_(tanh_g)
        c = torch.mul(f, c_carry.rows(c, size), out=next_c).addcmul_(i, g)
        if projection is None:
            h = torch.mul(tanh_(c, tanh_c), o, out=next_h)
        else:
            h = torch.mm(tanh_(c, tanh_c) * o, projection.t(), out=next_h)
    assert h is not None
    assert c is not None
    return y, h_carry.final(h).clone(), c_carry.final(c).clone(), gates, cells, squashed


Back = tuple[Tensor, Tensor, Tensor]


def _run_back(
    grad_y: Tensor,
    gates: Tensor,
    cells: Tensor,
    squashed: Tensor,
    c0: Tensor,
    weight: Tensor,
    projection: Tensor | None,
    h_carry: Carry,
    c_carry: Carry,
    steps: Steps,
) -> Back:
    """Gradients of the pre-activations, of the hidden states, and of the first step's cell."""
    deltas, h_grads = [], []
    delta: Tensor | None = None
    dc: Tensor | None = None
    before = list(previous(cells, c0, steps))[::-1]
    for (grad_h, gate, tanh_c), c_before in zip(steps.back(grad_y, gates, squashed), before, strict=True):
        dh = through_time(grad_h, delta, weight, h_carry)
        h_grads.append(dh)
        dm = dh if projection is None else dh @ projection
        i, f, g, o = gate.chunk(4, 1)
        dc = c_carry.rows(dc, tanh_c.shape[0]) + dm * o * tanh_slope(tanh_c)
        da_i = dc * g * sigmoid_slope(i)
        da_f = dc * c_before * sigmoid_slope(f)
        da_g = dc * i * tanh_slope(g)
        da_o = dm * tanh_c * sigmoid_slope(o)
        delta = torch.cat((da_i, da_f, da_g, da_o), 1)
        deltas.append(delta)
        dc = dc * f
    assert dc is not None
    return steps.join_back(deltas), steps.join_back(h_grads), dc


def _run_back_(
    grad_y: Tensor,
    gates: Tensor,
    cells: Tensor,
    squashed: Tensor,
    c0: Tensor,
    weight: Tensor,
    projection: Tensor | None,
    h_carry: Carry,
    c_carry: Carry,
    steps: Steps,
) -> Back:
    """The same with few temporaries: each step's slopes first, then the gradients times the slopes."""
    d = torch.empty_like(gates)
    h_grads: list[Tensor] = []
    delta: Tensor | None = None
    dc: Tensor | None = None
    before = list(previous(cells, c0, steps))[::-1]
    walk = steps.back(grad_y, gates, *gates.chunk(4, 1), squashed, d, *d.chunk(4, 1))
    for (grad_h, gate, i, f, g, o, tanh_c, slopes, d_i, d_f, d_g, d_o), c_before in zip(walk, before, strict=True):
        dh = through_time(grad_h, delta, weight, h_carry)
        dm = dh
        if projection is not None:
            h_grads.append(dh)
            dm = dh @ projection
        slope = tanh_slope_(tanh_c, torch.empty_like(tanh_c))
        dc = slope.mul_(o).mul_(dm).add_(c_carry.rows(dc, slope.shape[0]))
        sigmoid_slope_(gate, slopes)
        d_i.mul_(g).mul_(dc)
        d_f.mul_(c_before).mul_(dc)
        tanh_slope_(g, d_g).mul_(i).mul_(dc)
        d_o.mul_(tanh_c).mul_(dm)
        dc.mul_(f)
        delta = slopes
    assert dc is not None
    return d, steps.join_back(h_grads) if h_grads else d, dc
