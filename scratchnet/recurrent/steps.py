r"""Splits a batch of sequences into time steps, and holds what every recurrence does with them.

A batch of sequences is a matrix of rows, all rows of time 0 before all of time 1 and so on, longest sequence first,
as in a packed sequence. Time t has :math:`S_t` rows, one for each sequence that is that long; the sizes never grow.
A plain batch is the case in which all sizes are B. A recurrence walks through the times forward or in reverse:

- forward, sequences end on the way: the state loses its last rows, which are the final states;
- in reverse, sequences begin on the way: the state gains rows, from the initial states.

Going back through time, gradients do the same with the ends exchanged. `Carry` is both.

Every recurrence multiplies its rows by two matrices. What does not depend on the state is one product over all
rows, before the walk and after it:

.. math::
    P = X W_{ih}^\top + b, \qquad
    \frac{\partial L}{\partial X} = D\,W_{ih}, \qquad
    \frac{\partial L}{\partial W_{ih}} = D^\top X, \qquad
    \frac{\partial L}{\partial W_{hh}} = D^\top H_{\text{prev}}

with the gradients D of the pre-activations, row by row, and the states :math:`H_{\text{prev}}` from which each row
came. Only :math:`h W_{hh}^\top` and its adjoint are left for each step.

Shapes: N rows in all, T times, B sequences, I features in, H hidden units, G · H pre-activations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "Carry",
    "Steps",
    "bias_gradients",
    "previous",
    "projection",
    "products_tangent",
    "recurrent_gradient",
    "through_time",
]


class Steps(NamedTuple):
    """The number of rows at each time, the direction of the walk, and whether the sequences came packed."""

    sizes: tuple[int, ...]
    reverse: bool = False
    packed: bool = False

    @property
    def even(self) -> bool:
        """Whether all sequences are equally long."""
        return self.sizes[0] == self.sizes[-1]

    def walk(self, *rows: Tensor) -> list[tuple[Tensor, ...]]:
        """The matrices cut into the rows of each time, in the order of the walk."""
        even = (len(self.sizes), self.sizes[0]) if self.even else None
        cut = [x.reshape(*even, *x.shape[1:]).unbind() if even else x.split(self.sizes) for x in rows]
        times = list(zip(*cut, strict=True))
        return times[::-1] if self.reverse else times

    def back(self, *rows: Tensor) -> list[tuple[Tensor, ...]]:
        """The same in the order of the way back."""
        return self.walk(*rows)[::-1]

    def join(self, walked: Sequence[Tensor]) -> Tensor:
        """One matrix of what a walk produced step by step."""
        return torch.cat(list(walked)[::-1] if self.reverse else list(walked))

    def join_back(self, walked: Sequence[Tensor]) -> Tensor:
        """One matrix of what the way back produced step by step."""
        return self.join(list(walked)[::-1])


class Carry:
    """A state on its way from step to step, for the sequences that are under way.

    Args:
        initial: the state of every sequence before the walk, or the gradient of every final state.
    """

    def __init__(self, initial: Tensor) -> None:
        self.initial = initial
        self.left: list[Tensor] = []

    def rows(self, state: Tensor | None, size: int) -> Tensor:
        """The state for the next step: sequences that end leave it, sequences that begin join it."""
        have = 0 if state is None else state.shape[0]
        if state is None:
            return self.initial if size == self.initial.shape[0] else self.initial[:size]
        if size < have:
            self.left.append(state[size:])
            return state[:size]
        return torch.cat((state, self.initial[have:size])) if size > have else state

    def final(self, state: Tensor) -> Tensor:
        """The last state of every sequence."""
        return torch.cat((state, *reversed(self.left))) if self.left else state


def projection(x: Tensor, weight: Tensor, *biases: Tensor | None) -> Tensor:
    """The input's share of all pre-activations: one product over all rows."""
    bias: Tensor | None = None
    for b in biases:
        bias = b if bias is None else bias if b is None else bias + b
    return x @ weight.t() if bias is None else torch.addmm(bias, x, weight.t())


def products_tangent(
    x: Tensor, weight: Tensor, tangent_x: Tensor, tangent_weight: Tensor, *tangent_biases: Tensor | None
) -> Tensor:
    """The tangent of `projection`."""
    total = tangent_x @ weight.t() + x @ tangent_weight.t()
    for tangent in tangent_biases:
        total = total if tangent is None else total + tangent
    return total


def previous(states: Tensor, initial: Tensor, steps: Steps) -> Iterator[Tensor]:
    """The state from which each step came, in the order of the walk."""
    carry, last = Carry(initial), None
    for (state,) in steps.walk(states):
        yield carry.rows(last, state.shape[0])
        last = state


def through_time(grad: Tensor, delta: Tensor | None, weight: Tensor, carry: Carry) -> Tensor:
    """The gradient of a state: of its own output, and of the next step's pre-activations; in memory of its own."""
    size = grad.shape[0]
    if delta is not None and delta.shape[0] == size:
        return torch.addmm(grad, delta, weight)
    return grad + carry.rows(None if delta is None else delta @ weight, size)


def recurrent_gradient(grads: Tensor, states: Tensor, initial: Tensor, steps: Steps) -> Tensor:
    """The gradient of the matrix that the states are multiplied by: gᵀ h_prev, summed over all rows."""
    if not steps.even:
        return grads.t() @ steps.join(list(previous(states, initial, steps)))
    rows, batch = grads.shape[0], steps.sizes[0]
    first = slice(rows - batch, rows) if steps.reverse else slice(0, batch)
    total = grads[first].t() @ initial
    if rows == batch:
        return total
    later, earlier = slice(batch, rows), slice(0, rows - batch)
    if steps.reverse:
        later, earlier = earlier, later
    return torch.addmm(total, grads[later].t(), states[earlier])


def bias_gradients(grads: Tensor, needs: Sequence[bool]) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of two biases that are added up: both the sum over all rows."""
    total = grads.sum(0) if any(needs) else None
    second = total.clone() if total is not None and all(needs) else total
    return total if needs[0] else None, second if needs[1] else None
