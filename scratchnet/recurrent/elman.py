r"""The Elman network over whole sequences, and its back-propagation through time.

.. math:: h_t = \phi(a_t), \qquad a_t = W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}, \qquad \phi = \tanh
          \text{ or } \max(\cdot, 0)

A state reaches the loss through its own output and through the next state. With :math:`g_t` from the output,

.. math::
    \delta_t = \phi'(a_t) \odot \left(g_t + W_{hh}^\top \delta_{t+1}\right), \qquad
    \frac{\partial L}{\partial W_{hh}} = \sum_t \delta_t h_{t-1}^\top, \qquad
    \frac{\partial L}{\partial h_0} = W_{hh}^\top \delta_1

and :math:`\phi'` follows from :math:`h_t`: nothing but the states is kept. Of a long product of
:math:`W_{hh}^\top` and slopes below 1 little is left, which is why such networks forget; the gates of the LSTM and
the GRU are there to mend that.

Shapes: x ``(N, I)`` in the order of `steps`, h0 ``(B, H)``, W_ih ``(H, I)``, W_hh ``(H, H)``, output ``(N, H)``.

Sources: J. L. Elman, "Finding structure in time", 1990; P. J. Werbos, "Backpropagation through time: what it does
and how to do it", 1990.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.function import Function, recorded
from scratchnet.layout import matmul_like
from scratchnet.recurrent.gates import tanh, tanh_, tanh_slope, tanh_slope_
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

__all__ = ["ElmanFunction"]


class ElmanFunction(Function):
    """All states and the final one. Keeps inputs and states."""

    autocast = "low_precision"

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
        relu: bool,
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor | None, ...]]:
        """The pre-activations of all times at once; then each takes in the state before it."""
        pre = projection(x, weight_ih, bias_ih, bias_hh)
        in_place = not recorded()
        advance = _advance_ if in_place else _advance
        states: list[Tensor] = []
        carry, h = Carry(h0), None
        for (now,) in steps.walk(pre):
            h = advance(now, carry.rows(h, now.shape[0]), weight_hh, relu)
            states.append(h)
        y = pre if in_place else steps.join(states)
        final = carry.final(states[-1])
        # The states that are saved are a copy, since a program may change the output in place.
        return (y, final.clone() if in_place else final), (
            x,
            h0,
            weight_ih,
            weight_hh,
            bias_ih,
            bias_hh,
            y.clone(),
        )

    @staticmethod
    def backward(
        grad: Sequence[Tensor], saved: Sequence[Tensor], needs: Sequence[bool], *, steps: Steps, relu: bool
    ) -> tuple[Tensor | None, ...]:
        """Back through time to the pre-activations, and from all of them at once to what they were made of."""
        grad_y, grad_final = grad
        x, h0, weight_ih, weight_hh, _, _, y = saved
        retreat = _retreat if recorded() else _retreat_
        deltas: list[Tensor] = []
        carry, delta = Carry(grad_final), None
        for grad_h, h in steps.back(grad_y, y):
            delta = retreat(through_time(grad_h, delta, weight_hh, carry), h, relu)
            deltas.append(delta)
        d = steps.join_back(deltas)
        grad_x = matmul_like(x, d, weight_ih) if needs[0] else None
        grad_h0 = carry.final(matmul_like(h0, deltas[-1], weight_hh)) if needs[1] else None
        grad_weight_ih = d.t() @ x if needs[2] else None
        grad_weight_hh = recurrent_gradient(d, y, h0, steps) if needs[3] else None
        grad_bias_ih, grad_bias_hh = bias_gradients(d, needs[4:6])
        return grad_x, grad_h0, grad_weight_ih, grad_weight_hh, grad_bias_ih, grad_bias_hh

    @staticmethod
    def jvp(
        tangents: Sequence[Tensor], saved: Sequence[Tensor], *, steps: Steps, relu: bool
    ) -> tuple[Tensor, Tensor]:
        """Forward through time: the tangent of a state moves with the state."""
        tangent_x, tangent_h0, tangent_weight_ih, tangent_weight_hh, *tangent_biases = tangents
        x, h0, weight_ih, weight_hh, _, _, y = saved
        pre = products_tangent(x, weight_ih, tangent_x, tangent_weight_ih, *tangent_biases)
        found: list[Tensor] = []
        carry, tangent = Carry(tangent_h0), None
        for (now, h), before in zip(steps.walk(pre, y), previous(y, h0, steps), strict=True):
            through = carry.rows(tangent, now.shape[0]) @ weight_hh.t() + before @ tangent_weight_hh.t()
            tangent = _retreat(now + through, h, relu)
            found.append(tangent)
        return steps.join(found), carry.final(found[-1])


def _advance(now: Tensor, h: Tensor, weight: Tensor, relu: bool) -> Tensor:
    """The next state."""
    pre = torch.addmm(now, h, weight.t())
    return pre.clamp(min=0) if relu else tanh(pre)


def _advance_(now: Tensor, h: Tensor, weight: Tensor, relu: bool) -> Tensor:
    """The next state in place of its pre-activation."""
    now.addmm_(h, weight.t())
    return now.clamp_(min=0) if relu else tanh_(now, now)


def _retreat(grad: Tensor, h: Tensor, relu: bool) -> Tensor:
    """A gradient of a state as one of its pre-activation; the same for tangents, the other way."""
    return grad.masked_fill(h <= 0, 0) if relu else grad * tanh_slope(h)


def _retreat_(grad: Tensor, h: Tensor, relu: bool) -> Tensor:
    """The same in place of a gradient that nobody else holds."""
    return grad.masked_fill_(h <= 0, 0) if relu else grad.mul_(tanh_slope_(h, torch.empty_like(grad)))
