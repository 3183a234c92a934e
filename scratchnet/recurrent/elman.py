r"""The Elman network over whole sequences, and its back-propagation through time.

.. math:: h_t = \phi(a_t), \qquad a_t = W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}, \qquad \phi = \tanh
          \text{ or } \max(\cdot, 0)

A state reaches the loss through its own output and through the next state. With :math:`g_t` from the output,

.. math::
    \delta_t = \phi'(a_t) \odot \left(g_t + W_{hh}^\top \delta_{t+1}\right), \qquad
    \frac{\partial L}{\partial W_{hh}} = \sum_t \delta_t h_{t-1}^\top, \qquad
    \frac{\partial L}{\partial h_0} = W_{hh}^\top \delta_1

and :math:`\phi'` follows from :math:`h_t`: nothing but the states is saved. Of a long product of
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

from scratchnet.function import Function, clipped, dispatch
from scratchnet.layout import matmul_like
from scratchnet.recurrent import elman_in_place
from scratchnet.recurrent.gates import tanh, tanh_slope
from scratchnet.recurrent.steps import (
    Carry,
    Steps,
    bias_gradients,
    in_order_of,
    input_projection,
    input_projection_tangent,
    previous,
    state_weight_gradient,
    weight_gradient,
)

__all__ = ["ElmanFunction"]

Maybe = Tensor | None


class ElmanFunction(Function):
    """Returns all states and the final one."""

    autocast = "low_precision"

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
        relu: bool,
    ) -> tuple[tuple[Tensor, Tensor], tuple[Maybe, ...]]:
        inputs = (x, h0, weight_ih, weight_hh, bias_ih, bias_hh)
        y, h = _forward(x, h0, (weight_ih, weight_hh), (bias_ih, bias_hh), steps, relu)
        # The states that are saved are a copy, since a program may change the output in place.
        return (y, h), (*inputs, y.clone())

    @staticmethod
    def backward(
        grad: Sequence[Tensor], saved: Sequence[Tensor], needs: Sequence[bool], *, steps: Steps, relu: bool
    ) -> tuple[Maybe, ...]:
        """Walks back to the gradients of the pre-activations, which all others are products of."""
        x, h0, weight_ih, weight_hh, _, _, y = saved
        d, grad_h0 = _backward(grad, y, weight_hh, steps, relu, needs[1])
        return (
            matmul_like(x, d, weight_ih) if needs[0] else None,
            in_order_of(h0, grad_h0),
            weight_gradient(d, x) if needs[2] else None,
            state_weight_gradient(d, y, h0, steps) if needs[3] else None,
            *bias_gradients(d, needs[4:6]),
        )

    @staticmethod
    def jvp(
        tangents: Sequence[Tensor], saved: Sequence[Tensor], *, steps: Steps, relu: bool
    ) -> tuple[Tensor, Tensor]:
        dx, dh0, dweight_ih, dweight_hh, *dbiases = tangents
        x, h0, weight_ih, weight_hh, _, _, y = saved
        pre = input_projection_tangent(x, weight_ih, dx, dweight_ih, *dbiases)
        dh, found = Carry(dh0), []
        for (now, h), before in zip(steps.walk(pre, y), previous(y, h0, steps), strict=True):
            through = dh.rows(now.shape[0]) @ weight_hh.t() + before @ dweight_hh.t()
            dh.state = _times_slope(now + through, h, relu)
            found.append(dh.state)
        return steps.join(found), dh.final()


@dispatch(elman_in_place.forward)
def _forward(
    x: Tensor, h0: Tensor, weights: tuple[Tensor, Tensor], biases: tuple[Maybe, Maybe], steps: Steps, relu: bool
) -> tuple[Tensor, Tensor]:
    h, found = Carry(h0), []
    for (now,) in steps.walk(input_projection(x, weights[0], *biases)):
        a = torch.addmm(now, h.rows(now.shape[0]), weights[1].t())
        h.state = clipped(a, 0) if relu else tanh(a)
        found.append(h.state)
    return steps.join(found), h.final()


@dispatch(elman_in_place.backward)
def _backward(
    grads: Sequence[Tensor], y: Tensor, weight_hh: Tensor, steps: Steps, relu: bool, needs_h0: bool
) -> tuple[Tensor, Tensor]:
    """Returns the gradients of the pre-activations and, if needed, of the initial state."""
    grad_y, grad_h = grads
    dh, found = Carry(grad_h), []
    for grad, h in steps.back.walk(grad_y, y):
        delta = _times_slope(grad + dh.rows(grad.shape[0]), h, relu)
        if needs_h0 or not steps.single:
            dh.state = delta @ weight_hh
        found.append(delta)
    return steps.back.join(found), dh.final()


def _times_slope(grad: Tensor, h: Tensor, relu: bool) -> Tensor:
    return grad.masked_fill(h <= 0, 0) if relu else grad * tanh_slope(h)
