r"""The long short-term memory over whole sequences, and its back-propagation through time.

.. math::
    \begin{aligned}
    (i, f, g, o)_t &= (\sigma, \sigma, \tanh, \sigma)(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}) \\
    c_t &= f_t \odot c_{t-1} + i_t \odot g_t \\
    m_t &= o_t \odot \tanh c_t \\
    h_t &= m_t \quad \text{or, with a projection,} \quad W_{hr} m_t
    \end{aligned}

The cell c is carried on by a product with f and a sum: where f is near 1, so is its derivative, and a gradient lives
on. With :math:`\bar h_t` and :math:`\bar c_t` for the gradients of the states, from outputs and the step after,

.. math::
    \begin{aligned}
    \bar m_t &= \bar h_t \quad \text{or} \quad W_{hr}^\top \bar h_t \\
    \bar c_t &\mathrel{+}= \bar m_t \odot o_t \odot (1 - \tanh^2 c_t) \\
    \delta_t &= \left(\bar c_t g_t\, i_t (1 - i_t),\; \bar c_t c_{t-1}\, f_t (1 - f_t),\;
                      \bar c_t i_t\, (1 - g_t^2),\; \bar m_t \tanh c_t\, o_t (1 - o_t)\right) \\
    \bar h_{t-1} &= W_{hh}^\top \delta_t, \qquad \bar c_{t-1} = \bar c_t \odot f_t
    \end{aligned}

Saved of each step: the gates, the cell before it, and the tanh of the cell after it.

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

from scratchnet.function import Function, dispatch
from scratchnet.layout import matmul_like
from scratchnet.recurrent import lstm_in_place
from scratchnet.recurrent.gates import sigmoid, sigmoid_slope, tanh, tanh_slope
from scratchnet.recurrent.steps import (
    Carry,
    Steps,
    bias_gradients,
    in_order_of,
    input_projection,
    input_projection_tangent,
    previous_rows,
    weight_gradient,
)

__all__ = ["LSTMFunction"]

Maybe = Tensor | None
Pair = tuple[Tensor, Tensor]


class LSTMFunction(Function):
    """Returns all hidden states, the final one and the final cell."""

    autocast = "low_precision_on_cuda"

    @staticmethod
    def forward(
        x: Tensor,
        h0: Tensor,
        c0: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Maybe,
        bias_hh: Maybe,
        weight_hr: Maybe,
        *,
        steps: Steps,
    ) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Maybe, ...]]:
        inputs = (x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, weight_hr)
        y, h, c, gates, cells, squashed = _forward(
            x, (h0, c0), (weight_ih, weight_hh), (bias_ih, bias_hh), weight_hr, steps
        )
        return (y, h, c), (*inputs, previous_rows(y, h0, steps), gates, previous_rows(cells, c0, steps), squashed)

    @staticmethod
    def backward(
        grad: Sequence[Tensor], saved: Sequence[Tensor], needs: Sequence[bool], *, steps: Steps
    ) -> tuple[Maybe, ...]:
        """Walks back to the gradients of the pre-activations, which all others are products of."""
        x, h0, _, weight_ih, weight_hh, _, _, weight_hr, states, *intermediates = saved
        d, dh, grad_h0, grad_c0 = _backward(grad, (weight_hh, weight_hr), intermediates, steps, needs[1])
        gates, _, squashed = intermediates
        return (
            matmul_like(x, d, weight_ih) if needs[0] else None,
            in_order_of(h0, grad_h0),
            grad_c0,
            weight_gradient(d, x) if needs[3] else None,
            weight_gradient(d, states) if needs[4] else None,
            *bias_gradients(d, needs[5:7]),
            weight_gradient(dh, gates.chunk(4, 1)[3] * squashed) if dh is not None else None,
        )

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, steps: Steps) -> tuple[Tensor, Tensor, Tensor]:
        dx, dh0, dc0, dweight_ih, dweight_hh, dbias_ih, dbias_hh, dweight_hr = tangents
        x, _, _, weight_ih, weight_hh, _, _, weight_hr, states, gates, cells, squashed = saved
        pre = input_projection_tangent(x, weight_ih, dx, dweight_ih, dbias_ih, dbias_hh)
        h, c, found = Carry(dh0), Carry(dc0), []
        for now, gate, tanh_c, h_before, c_before in steps.walk(pre, gates, squashed, states, cells):
            through = h.rows(now.shape[0]) @ weight_hh.t() + h_before @ dweight_hh.t()
            (i, f, g, o), (di, df, dg, do) = gate.chunk(4, 1), (now + through).chunk(4, 1)
            di, df, do = di * sigmoid_slope(i), df * sigmoid_slope(f), do * sigmoid_slope(o)
            dg = dg * tanh_slope(g)
            dc = df * c_before + f * c.rows(now.shape[0]) + di * g + i * dg
            dh = do * tanh_c + o * tanh_slope(tanh_c) * dc
            if weight_hr is not None:
                dh = dh @ weight_hr.t() + (o * tanh_c) @ dweight_hr.t()
            h.state, c.state = dh, dc
            found.append(dh)
        return steps.join(found), h.final(), c.final()


@dispatch(lstm_in_place.forward)
def _forward(
    x: Tensor, states: Pair, weights: Pair, biases: tuple[Maybe, Maybe], weight_hr: Maybe, steps: Steps
) -> tuple[Tensor, ...]:
    """Returns hidden states, final states, and of each step the gates, the cell and its tanh."""
    h, c, found = *map(Carry, states), []
    for (now,) in steps.walk(input_projection(x, weights[0], *biases)):
        i, f, g, o = torch.addmm(now, h.rows(now.shape[0]), weights[1].t()).chunk(4, 1)
        i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
        c.state = f * c.rows(now.shape[0]) + i * g
        tanh_c = tanh(c.state)
        h.state = o * tanh_c if weight_hr is None else (o * tanh_c) @ weight_hr.t()
        found.append((h.state, torch.cat((i, f, g, o), 1), c.state, tanh_c))
    y, *saved = map(steps.join, zip(*found, strict=True))
    return y, h.final(), c.final(), *saved


@dispatch(lstm_in_place.backward)
def _backward(
    grads: Sequence[Tensor], weights: tuple[Tensor, Maybe], saved: Sequence[Tensor], steps: Steps, needs_h0: bool
) -> tuple[Tensor, Maybe, Tensor, Tensor]:
    """Returns the gradients of pre-activations, of hidden states if projected, and of initial states if needed."""
    weight_hh, weight_hr = weights
    (grad_y, *grad_states), (gates, cells, squashed) = grads, saved
    h, c, found = *map(Carry, grad_states), []
    for grad, gate, tanh_c, c_before in steps.back.walk(grad_y, gates, squashed, cells):
        i, f, g, o = gate.chunk(4, 1)
        dh = grad + h.rows(grad.shape[0])
        dm = dh if weight_hr is None else dh @ weight_hr
        dc = c.rows(grad.shape[0]) + dm * o * tanh_slope(tanh_c)
        di, df = dc * g * sigmoid_slope(i), dc * c_before * sigmoid_slope(f)
        dg, do = dc * i * tanh_slope(g), dm * tanh_c * sigmoid_slope(o)
        delta = torch.cat((di, df, dg, do), 1)
        found.append((delta, dh))
        c.state = dc * f
        h.state = delta @ weight_hh if needs_h0 or not steps.single else h.state
    d, dh = map(steps.back.join, zip(*found, strict=True))
    return d, None if weight_hr is None else dh, h.final(), c.final()
