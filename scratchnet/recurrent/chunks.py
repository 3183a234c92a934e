r"""Runs a recurrence on chunks of time side by side, and verifies what it assumed.

On few units a step takes as long as its calls, however few numbers they compute. A long sequence is therefore cut into
chunks that run as one batch, as though they were sequences of their own. Each starts from a guess: the state to which
the times just before it lead from zero, which is the right one where the network forgets. A chunk whose start turns out
not to be the state in which the one before it ended runs again from there, until all fit. Where a network forgets
nothing, its chunks come to fit one after the other, which takes as long as one walk through all times.

Two states are the same up to a few roundings, as if their products had been added up in another order. The first
chunk starts right; after every round one more does at least.

The idea is that of multiple shooting: J.-L. Lions, Y. Maday and G. Turinici, "A 'parareal' in time discretization of
PDEs", 2001.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from scratchnet.recurrent.steps import Steps

__all__ = ["Rows", "States", "in_chunks"]

FEW = 256  # numbers in a state, up to which a step takes as long as its calls
ROUNDINGS = 4

Rows = Sequence[Tensor]
States = Sequence[Tensor]
Run = Callable[[Rows, States, Steps], tuple[Rows, States]]


def in_chunks(run: Run, rows: Rows, states: States, steps: Steps) -> tuple[Rows, States]:
    """Returns the rows of all times and the final states, as ``run(rows, states, steps)`` does.

    ``run`` may overwrite its rows. Final states may share memory with rows, though autograd does not know.
    """

    def below_autograd(rows: Rows, states: States, steps: Steps) -> tuple[Rows, States]:
        """Calls ``run`` without autograd's dispatch, an eighth of the time, which records nothing here."""
        with torch._C._AutoDispatchBelowAutograd():
            return run(rows, states, steps)

    few = 0 < states[-1].numel() <= FEW and states[-1].device.type == "cpu"
    span = round(-3 * math.log(torch.finfo(states[-1].dtype).eps))  # a state fades by e in 3 steps or fewer
    if not few or not steps.even or len(steps.sizes) < 4 * span:
        return below_autograd(rows, states, steps)
    return _side_by_side(below_autograd, rows, states, steps, span)


def _side_by_side(run: Run, rows: Rows, states: States, steps: Steps, span: int) -> tuple[Rows, States]:
    """Returns the same from chunks, each of which starts from what ``span`` times before it lead to."""
    length, batch, state = len(steps.sizes), steps.sizes[0], states[-1]

    def walk(begins: Tensor, lengths: Tensor, states: States) -> tuple[Tensor, Rows, States]:
        """Runs chunks of these times, longest first; returns their places among all rows, their rows and their ends."""
        at = torch.arange(int(lengths[0])).unsqueeze(1)
        times = (begins + at)[at < lengths]
        times = length - 1 - times if steps.reverse else times
        places = (times.unsqueeze(1) * batch + torch.arange(batch)).view(-1)
        sizes = tuple(((at < lengths).sum(1) * batch).tolist())
        found, ends = run([x[places] for x in rows], [s.reshape(-1, s.shape[2]) for s in states], Steps(sizes))
        return places, found, [end.view(-1, batch, end.shape[1]) for end in ends]

    # A step takes some 30 µs and 12 ns for each number of the state; short chunks are fewer steps, but more guesses.
    count = length // max(span // 3, math.isqrt(length * span * state.numel() // 2500))
    lengths = torch.full((count,), length // count).add_(torch.arange(count) < length % count)
    begins = lengths.cumsum(0) - lengths
    before = begins[1:].flip(0).clamp(max=span)
    first = int((begins[1:] <= span).sum())  # these few are led to from the initial state
    initial = [torch.cat((s.new_zeros(count - 1 - first, *s.shape), s.expand(first, *s.shape))) for s in states]
    _, _, guesses = walk(begins[1:].flip(0) - before, before, initial)
    starts = [torch.cat((s.unsqueeze(0), guess.flip(0))) for s, guess in zip(states, guesses, strict=True)]
    places, found, ends = walk(begins, lengths, starts)
    outputs = [torch.empty_like(x).index_copy_(0, places, x) for x in found]
    for right in range(1, count):  # so many chunks started right
        unlike = [_unlike(end[right - 1 : -1], start[right:]) for end, start in zip(ends, starts, strict=True)]
        chunks = torch.stack(unlike).any(0).nonzero().squeeze(1) + right
        if not chunks.numel():
            break
        for start, end in zip(starts, ends, strict=True):
            start[chunks] = end[chunks - 1]
        places, found, ended = walk(begins[chunks], lengths[chunks], [s[chunks] for s in starts])
        for output, part in zip(outputs, found, strict=True):
            output[places] = part
        for end, part in zip(ends, ended, strict=True):
            end[chunks] = part
    return outputs, [end[-1] for end in ends]


def _unlike(ends: Tensor, starts: Tensor) -> Tensor:
    """Tells which chunks, the first dimension, do not start as the one before ended."""
    ends, starts = ends.reshape(len(ends), -1), starts.reshape(len(starts), -1)
    few = ROUNDINGS * torch.finfo(ends.dtype).eps * ends.abs().amax(1, keepdim=True)
    return ~torch.logical_or(ends == starts, (ends - starts).abs() < few).all(1)
