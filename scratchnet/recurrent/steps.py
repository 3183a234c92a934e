r"""Splits a batch of sequences into time steps, and holds what every recurrence does with them.

A batch of sequences is a matrix of rows, all rows of time 0 before all of time 1 and so on, longest sequence first,
as in a packed sequence. Time t has :math:`S_t` rows, one for each sequence that is that long; the sizes never grow.
A plain batch is the case in which all sizes are B. A recurrence walks through the times forward or in reverse:

- forward, sequences end on the way: the state loses its last rows, which are the final states;
- in reverse, sequences begin on the way: the state gains rows, from the initial states.

Going back through time is a walk in the other direction, in which gradients do the same. `Carry` holds the state of
both.

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
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "Carry",
    "Steps",
    "bias_gradients",
    "in_order_of",
    "input_projection",
    "input_projection_tangent",
    "previous",
    "previous_rows",
    "state_weight_gradient",
    "weight_gradient",
]

NARROW, BLOCK = 16, 64  # columns, from which on a product adds up in blocks by itself, and rows of a block


class Steps(NamedTuple):
    """The number of rows at each time, the direction of the walk, and whether the sequences came packed."""

    sizes: tuple[int, ...]
    reverse: bool = False
    packed: bool = False

    @property
    def even(self) -> bool:
        """Whether all sequences are equally long."""
        return self.sizes[0] == self.sizes[-1]

    @property
    def single(self) -> bool:
        """Whether there is one step alone, as in a cell."""
        return len(self.sizes) == 1

    @property
    def back(self) -> Steps:
        """The walk in the other direction."""
        return self._replace(reverse=not self.reverse)

    def walk(self, *rows: Tensor) -> list[tuple[Tensor, ...]]:
        """Cuts matrices into the rows of each time, in the order of the walk."""
        even = (len(self.sizes), self.sizes[0]) if self.even else None
        cut = [x.reshape(*even, *x.shape[1:]).unbind() if even else x.split(self.sizes) for x in rows]
        times = list(zip(*cut, strict=True))
        return times[::-1] if self.reverse else times

    def join(self, walked: Sequence[Tensor]) -> Tensor:
        """Joins what a walk produced step by step to one matrix."""
        if self.single:
            return walked[0].contiguous()
        return torch.cat(list(walked)[::-1] if self.reverse else list(walked))

    def tiles(self, times: int) -> list[tuple[slice, Steps]]:
        """Splits the walk into shorter ones that follow one another; returns the rows and the steps of each."""
        rows = [0, *accumulate(self.sizes)]
        cuts = [*range(0, len(self.sizes), times), len(self.sizes)]
        parts = [
            (slice(rows[first], rows[end]), self._replace(sizes=self.sizes[first:end]))
            for first, end in zip(cuts, cuts[1:], strict=False)
        ]
        return parts[::-1] if self.reverse else parts


class Carry:
    """A state on its way from step to step, for the sequences that are under way.

    Args:
        initial: the state of every sequence before the walk, or the gradient of every final state.
    """

    def __init__(self, initial: Tensor) -> None:
        self.initial = self.state = initial
        self.size = 0
        self.left: list[Tensor] = []

    def rows(self, size: int) -> Tensor:
        """Returns the state for the next step: sequences that end leave it, sequences that begin join it."""
        have, self.size = self.size, size
        if size > have:
            begun = self.initial if size - have == self.initial.shape[0] else self.initial[have:size]
            self.state = torch.cat((self.state, begun)) if have else begun
        elif size < have:
            self.left.append(self.state[size:])
            self.state = self.state[:size]
        return self.state

    def final(self) -> Tensor:
        """Returns the last state of every sequence."""
        return torch.cat((self.state, *reversed(self.left))) if self.left else self.state


def input_projection(x: Tensor, weight: Tensor, *biases: Tensor | None) -> Tensor:
    """Returns the input's share of all pre-activations: one product over all rows."""
    given = [b for b in biases if b is not None]
    return torch.addmm(sum(given[1:], given[0]), x, weight.t()) if given else x @ weight.t()


def input_projection_tangent(
    x: Tensor, weight: Tensor, tangent_x: Tensor, tangent_weight: Tensor, *tangent_biases: Tensor | None
) -> Tensor:
    """Returns the tangent of `input_projection`."""
    total = tangent_x @ weight.t() + x @ tangent_weight.t()
    for tangent in tangent_biases:
        total = total if tangent is None else total + tangent
    return total


def previous(states: Tensor, initial: Tensor, steps: Steps) -> Iterator[Tensor]:
    """Yields the state from which each step came, in the order of the walk."""
    carry = Carry(initial)
    for (state,) in steps.walk(states):
        yield carry.rows(state.shape[0])
        carry.state = state


def previous_rows(states: Tensor, initial: Tensor, steps: Steps) -> Tensor:
    """Returns the same as one matrix, in the order of the states. No later change of the states reaches it."""
    if steps.single:
        return initial
    if not steps.even:
        return steps.join([*previous(states, initial, steps)])
    rows, batch = states.shape[0], steps.sizes[0]
    return torch.cat((states[batch:], initial) if steps.reverse else (initial, states[: rows - batch]))


def in_order_of(x: Tensor, grad: Tensor) -> Tensor:
    """Returns the gradient of a matrix in column-major order if the matrix is, as autograd does."""
    columns = x.stride(0) == 1 and x.stride(1) == x.shape[0]
    return grad.t().contiguous().t() if columns else grad


def weight_gradient(grads: Tensor, inputs: Tensor) -> Tensor:
    r"""Returns :math:`\sum_t g_t x_t^T`, the gradient of a weight that multiplies the inputs of all steps.

    It is one product over all rows. One with few columns adds up row after row, which loses digits over long sequences;
    there the sums of blocks of rows are added up instead.
    """
    count, columns = inputs.shape
    if columns >= NARROW or count <= BLOCK:
        return grads.t() @ inputs
    whole = count - count % BLOCK
    g, x = (rows[:whole].reshape(-1, BLOCK, rows.shape[1]) for rows in (grads, inputs))
    return torch.addmm((g.transpose(1, 2) @ x).sum(0), grads[whole:].t(), inputs[whole:])


def state_weight_gradient(grads: Tensor, states: Tensor, initial: Tensor, steps: Steps) -> Tensor:
    """Returns the gradient of a weight that multiplies `previous_rows`, which it does not copy if it need not."""
    if steps.single or not steps.even:
        return weight_gradient(grads, previous_rows(states, initial, steps))
    batch = steps.sizes[0]
    if steps.reverse:
        later, first, before = grads[:-batch], grads[-batch:], states[batch:]
    else:
        first, later, before = grads[:batch], grads[batch:], states[:-batch]
    return weight_gradient(later, before) + weight_gradient(first, initial)


def bias_gradients(grads: Tensor, needs: Sequence[bool]) -> tuple[Tensor | None, Tensor | None]:
    """Returns the gradients of two biases that are added up: both the sum over all rows."""
    total = grads.sum(0) if any(needs) else None
    second = total.clone() if total is not None and all(needs) else total
    return total if needs[0] else None, second if needs[1] else None
