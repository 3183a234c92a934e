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
:math:`(\delta^r, \delta^z, \delta^n \odot r)`. Kept of each step: the gates r, z, n, and q.

Shapes: x ``(N, I)`` in the order of `steps`, h0 ``(B, H)``, W_ih ``(3H, I)``, W_hh ``(3H, H)``, output ``(N, H)``.

Source: K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine
translation", 2014; the place of r follows cuDNN and PyTorch.
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
    previous,
    products_tangent,
    projection,
    recurrent_gradient,
)

__all__ = ["GRUFunction"]


class GRUFunction(Function):
    """All states and the final one. Keeps inputs, states, gates and the state's share of the new one, q."""

    autocast = "low_precision_on_cuda"

    @staticmethod
    def forward(
        x: Tensor,
        h0: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor | None,
        bias_hh: Tensor | None,
        *,
        steps: Steps,
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor | None, ...]]:
        """The input's share of all gates at once; then each step takes in the state before it."""
        pre = projection(x, weight_ih, bias_ih)
        run = _run if recorded() else _run_
        y, final, gates, q = run(pre, h0, weight_hh, bias_hh, steps)
        # The states that are saved are a copy, since a program may change the output in place.
        return (y, final), (x, h0, weight_ih, weight_hh, bias_ih, bias_hh, y.clone(), gates, q)

    @staticmethod
    def backward(
        grad: Sequence[Tensor], saved: Sequence[Tensor], needs: Sequence[bool], *, steps: Steps
    ) -> tuple[Tensor | None, ...]:
        """Back through time to the pre-activations, and from all of them at once to what they were made of."""
        grad_y, grad_final = grad
        x, h0, weight_ih, weight_hh, _, _, y, gates, q = saved
        carry = Carry(grad_final)
        run = _run_back if recorded() else _run_back_
        from_input, from_state, first = run(grad_y, y, h0, gates, q, weight_hh, carry, steps)
        grad_x = matmul_like(x, from_input, weight_ih) if needs[0] else None
        grad_h0 = carry.final(first) if needs[1] else None
        grad_weight_ih = from_input.t() @ x if needs[2] else None
        grad_weight_hh = recurrent_gradient(from_state, y, h0, steps) if needs[3] else None
        grad_bias_ih = from_input.sum(0) if needs[4] else None
        grad_bias_hh = from_state.sum(0) if needs[5] else None
        return grad_x, grad_h0, grad_weight_ih, grad_weight_hh, grad_bias_ih, grad_bias_hh

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, steps: Steps) -> tuple[Tensor, Tensor]:
        """Forward through time: the tangent of a state moves with the state."""
        dx, dh0, dweight_ih, dweight_hh, dbias_ih, dbias_hh = tangents
        x, h0, weight_ih, weight_hh, _, _, y, gates, q = saved
        pre = products_tangent(x, weight_ih, dx, dweight_ih, dbias_ih)
        carry, dh = Carry(dh0), None
        found: list[Tensor] = []
        walk = zip(steps.walk(pre, gates, q), previous(y, h0, steps), strict=True)
        for (now, gate, q_now), before in walk:
            dbefore = carry.rows(dh, now.shape[0])
            through = dbefore @ weight_hh.t() + before @ dweight_hh.t()
            through = through if dbias_hh is None else through + dbias_hh
            r, z, n = gate.chunk(3, 1)
            r_in, z_in, n_in = now.chunk(3, 1)
            r_state, z_state, n_state = through.chunk(3, 1)
            dr = (r_in + r_state) * sigmoid_slope(r)
            dz = (z_in + z_state) * sigmoid_slope(z)
            dn = (n_in + dr * q_now + r * n_state) * tanh_slope(n)
            dh = (1 - z) * dn + z * dbefore + dz * (before - n)
            found.append(dh)
        return steps.join(found), carry.final(found[-1])


Run = tuple[Tensor, Tensor, Tensor, Tensor]


def _run(pre: Tensor, h0: Tensor, weight: Tensor, bias: Tensor | None, steps: Steps) -> Run:
    """States, the final one, gates and q, in operations that can be differentiated."""
    states, gates, shares = [], [], []
    carry = Carry(h0)
    h: Tensor | None = None
    for (now,) in steps.walk(pre):
        before = carry.rows(h, now.shape[0])
        r_state, z_state, q = projection(before, weight, bias).chunk(3, 1)
        r_in, z_in, n_in = now.chunk(3, 1)
        r, z = sigmoid(r_in + r_state), sigmoid(z_in + z_state)
        n = tanh(n_in + r * q)
        h = n + z * (before - n)
        states.append(h)
        gates.append(torch.cat((r, z, n), 1))
        shares.append(q)
    assert h is not None
    return steps.join(states), carry.final(h), steps.join(gates), steps.join(shares)


def _run_(gates: Tensor, h0: Tensor, weight: Tensor, bias: Tensor | None, steps: Steps) -> Run:
    """The same with the gates in place of the pre-activations."""
    rows, units = gates.shape[0], h0.shape[1]
    y, shares = h0.new_empty(rows, units), h0.new_empty(rows, units)
    carry = Carry(h0)
    h: Tensor | None = None
    for rz, n, q, next_h in steps.walk(gates[:, : 2 * units], gates[:, 2 * units :], shares, y):
        before = carry.rows(h, n.shape[0])
        state = projection(before, weight, bias)
        squashed = sigmoid_(state[:, : 2 * units] + rz)
        r, z = squashed[:, :units], squashed[:, units:]
        rz.copy_(squashed)
        q.copy_(state[:, 2 * units :])
        new = torch.addcmul(n, r, q)
        n.copy_(tanh_(new, new))
        h = torch.addcmul(new, z, before - new, out=next_h)
    assert h is not None
    return y, carry.final(h).clone(), gates, shares


Back = tuple[Tensor, Tensor, Tensor]


def _run_back(
    grad_y: Tensor, y: Tensor, h0: Tensor, gates: Tensor, q: Tensor, weight: Tensor, carry: Carry, steps: Steps
) -> Back:
    """Gradients of the input's and the state's share of the pre-activations, and of the state before them all."""
    from_input, from_state = [], []
    dh: Tensor | None = None
    before = list(previous(y, h0, steps))[::-1]
    for (grad_h, gate, q_now), h in zip(steps.back(grad_y, gates, q), before, strict=True):
        dh = grad_h + carry.rows(dh, h.shape[0])
        r, z, n = gate.chunk(3, 1)
        dn = dh * (1 - z) * tanh_slope(n)
        dz = dh * (h - n) * sigmoid_slope(z)
        dr = dn * q_now * sigmoid_slope(r)
        delta = torch.cat((dr, dz, dn * r), 1)
        from_input.append(torch.cat((dr, dz, dn), 1))
        from_state.append(delta)
        dh = torch.addmm(dh * z, delta, weight)
    assert dh is not None
    return steps.join_back(from_input), steps.join_back(from_state), dh


def _run_back_(
    grad_y: Tensor, y: Tensor, h0: Tensor, gates: Tensor, q: Tensor, weight: Tensor, carry: Carry, steps: Steps
) -> Back:
    """The same with few temporaries."""
    units = y.shape[1]
    from_input, from_state = torch.empty_like(gates), torch.empty_like(gates)
    dh: Tensor | None = None
    before = list(previous(y, h0, steps))[::-1]
    walk = steps.back(grad_y, gates, *gates.chunk(3, 1), q, from_input, from_state)
    for (grad_h, gate, r, z, n, q_now, on_input, on_state), h in zip(walk, before, strict=True):
        dh = grad_h + carry.rows(dh, h.shape[0])
        sigmoid_slope_(gate, on_state)
        dr, dz, dq = on_state.chunk(3, 1)
        dn = torch.sub(1, z).mul_(dh).mul_(tanh_slope_(n, torch.empty_like(h)))
        dz.mul_(h - n).mul_(dh)
        dr.mul_(q_now).mul_(dn)
        on_input[:, : 2 * units] = on_state[:, : 2 * units]
        on_input[:, 2 * units :] = dn
        torch.mul(dn, r, out=dq)
        dh = dh.mul_(z).addmm_(on_state, weight)
    assert dh is not None
    return from_input, from_state, dh
