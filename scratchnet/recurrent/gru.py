r"""The gated recurrent unit over whole sequences, and its back-propagation through time.

.. math::
    \begin{aligned}
    r_t &= \sigma(W_{ir} x_t + b_{ir} + W_{hr} h_{t-1} + b_{hr}) \\
    z_t &= \sigma(W_{iz} x_t + b_{iz} + W_{hz} h_{t-1} + b_{hz}) \\
    n_t &= \tanh(W_{in} x_t + b_{in} + r_t \odot q_t), \qquad q_t = W_{hn} h_{t-1} + b_{hn} \\
    h_t &= n_t + z_t \odot (h_{t-1} - n_t)
    \end{aligned}

The gate z chooses between the old state and a new one; r chooses how much of the old state the new one sees, after
its product with :math:`W_{hn}`, which is why the two biases are not one. With :math:`\bar h_t` for the gradient of
the state, from its own output and from the step after,

.. math::
    \begin{aligned}
    \delta^n_t &= \bar h_t \odot (1 - z_t) \odot (1 - n_t^2), \qquad
    \delta^z_t = \bar h_t \odot (h_{t-1} - n_t) \odot z_t (1 - z_t), \qquad
    \delta^r_t = \delta^n_t \odot q_t \odot r_t (1 - r_t) \\
    \bar h_{t-1} &= \bar h_t \odot z_t + W_{hr}^\top \delta^r_t + W_{hz}^\top \delta^z_t
                    + W_{hn}^\top (\delta^n_t \odot r_t)
    \end{aligned}

The input's matrices get :math:`(\delta^r, \delta^z, \delta^n)`, the state's
:math:`(\delta^r, \delta^z, \delta^n \odot r)`. Saved of each step: the gates r and z, n, and q.

Shapes: x ``(N, I)`` in the order of `steps`, h0 ``(B, H)``, W_ih ``(3H, I)``, W_hh ``(3H, H)``, output ``(N, H)``.

Source: K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine
translation", 2014; the place of r follows cuDNN and PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.function import Function, dispatch
from scratchnet.layout import matmul_like
from scratchnet.recurrent import gru_in_place
from scratchnet.recurrent.gates import sigmoid, sigmoid_slope, tanh, tanh_slope
from scratchnet.recurrent.steps import (
    Carry,
    Steps,
    input_projection,
    input_projection_tangent,
    previous_rows,
    weight_gradient,
)

__all__ = ["GRUFunction"]

Maybe = Tensor | None


class GRUFunction(Function):
    """Returns all states and the final one."""

    autocast = "low_precision_on_cuda"

    @staticmethod
    def forward(
        x: Tensor,
        h0: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Maybe,
        bias_hh: Maybe,
        *,
        steps: Steps,
    ) -> tuple[tuple[Tensor, Tensor], tuple[Maybe, ...]]:
        inputs = (x, h0, weight_ih, weight_hh, bias_ih, bias_hh)
        y, h, *saved = _forward(x, h0, (weight_ih, weight_hh), (bias_ih, bias_hh), steps)
        return (y, h), (*inputs, previous_rows(y, h0, steps), *saved)

    @staticmethod
    def backward(
        grad: Sequence[Tensor], saved: Sequence[Tensor], needs: Sequence[bool], *, steps: Steps
    ) -> tuple[Maybe, ...]:
        """Walks back to the gradients of the two products, which all others follow from."""
        x, _, weight_ih, weight_hh, _, _, before, *intermediates = saved
        from_input, from_state, grad_h0 = _backward(grad, before, weight_hh, intermediates, steps, needs[1])
        return (
            matmul_like(x, from_input, weight_ih) if needs[0] else None,
            grad_h0,
            weight_gradient(from_input, x) if needs[2] else None,
            weight_gradient(from_state, before) if needs[3] else None,
            from_input.sum(0) if needs[4] else None,
            from_state.sum(0) if needs[5] else None,
        )

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, steps: Steps) -> tuple[Tensor, Tensor]:
        dx, dh0, dweight_ih, dweight_hh, dbias_ih, dbias_hh = tangents
        x, _, weight_ih, weight_hh, _, _, states, gates, new, q = saved
        pre = input_projection_tangent(x, weight_ih, dx, dweight_ih, dbias_ih)
        dh, found = Carry(dh0), []
        for now, gate, n, q_now, h in steps.walk(pre, gates, new, q, states):
            before = dh.rows(now.shape[0])
            through = before @ weight_hh.t() + h @ dweight_hh.t()
            through = through if dbias_hh is None else through + dbias_hh
            r, z = gate.chunk(2, 1)
            (dr, dz, dn), (dr_state, dz_state, dq) = now.chunk(3, 1), through.chunk(3, 1)
            dr = (dr + dr_state) * sigmoid_slope(r)
            dz = (dz + dz_state) * sigmoid_slope(z)
            dn = (dn + dr * q_now + r * dq) * tanh_slope(n)
            dh.state = (1 - z) * dn + z * before + dz * (h - n)
            found.append(dh.state)
        return steps.join(found), dh.final()


@dispatch(gru_in_place.forward)
def _forward(
    x: Tensor, h0: Tensor, weights: tuple[Tensor, Tensor], biases: tuple[Maybe, Maybe], steps: Steps
) -> tuple[Tensor, ...]:
    """Returns states, the final one, and of each step the gates, the new state and q."""
    h, found = Carry(h0), []
    for (now,) in steps.walk(input_projection(x, weights[0], biases[0])):
        before = h.rows(now.shape[0])
        r_state, z_state, q = input_projection(before, weights[1], biases[1]).chunk(3, 1)
        r, z, n = now.chunk(3, 1)
        r, z = sigmoid(r + r_state), sigmoid(z + z_state)
        n = tanh(n + r * q)
        h.state = n + z * (before - n)
        found.append((h.state, torch.cat((r, z), 1), n, q))
    y, *saved = map(steps.join, zip(*found, strict=True))
    return y, h.final(), *saved


@dispatch(gru_in_place.backward)
def _backward(
    grads: Sequence[Tensor],
    before: Tensor,
    weight_hh: Tensor,
    saved: Sequence[Tensor],
    steps: Steps,
    needs_h0: bool,
) -> tuple[Tensor, ...]:
    """Returns the gradients of the input's product, of the state's and, if needed, of the initial state."""
    (grad_y, grad_h), (gates, new, q) = grads, saved
    back, dh, found = steps.back, Carry(grad_h), []
    for grad, gate, n, q_now, h in back.walk(grad_y, gates, new, q, before):
        r, z = gate.chunk(2, 1)
        g = grad + dh.rows(grad.shape[0])
        dn = g * (1 - z) * tanh_slope(n)
        dz = g * (h - n) * sigmoid_slope(z)
        dr = dn * q_now * sigmoid_slope(r)
        from_state = torch.cat((dr, dz, dn * r), 1)
        found.append((torch.cat((dr, dz, dn), 1), from_state))
        if needs_h0 or not steps.single:
            dh.state = torch.addmm(g * z, from_state, weight_hh)
    from_input, from_state = map(back.join, zip(*found, strict=True))
    return from_input, from_state, dh.final()
