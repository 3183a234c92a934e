"""The recursions of `ctc` in memory that is used again, for where nothing records them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["CLASS", "FRONT", "NEVER", "RENEWED", "alpha", "closed", "final", "largest", "shares"]

NEVER = -math.inf
CLASS = 2
# Positions -2 and -1 stand in front of the others: the first can not be reached, and paths start at the second.
FRONT = 2
# Frames after which α and β are brought back to 0: until then they fall to some tens.
RENEWED = 8


def largest(scores: Tensor) -> Tensor:
    """Returns the largest over the positions, a constant that can be subtracted: 0 where none can be reached."""
    found = scores.amax(-1, keepdim=True).detach()
    return found.masked_fill(found == NEVER, 0)


def closed(skips: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns 0 where a position may be reached by a skip, -inf elsewhere."""
    return torch.zeros_like(skips, dtype=dtype).masked_fill(~skips, NEVER)


def final(labels: Tensor, like: Tensor) -> Tensor:
    """Returns β at the last frame: 0 at the two positions where a path may end, -inf elsewhere."""
    place, end = torch.arange(like.shape[1], device=like.device), 2 * labels.unsqueeze(1)
    return torch.zeros_like(like).masked_fill((place != end) & (place != end - 1), NEVER)


def alpha(scores: Tensor, skips: Tensor) -> tuple[Tensor, Tensor]:
    """Writes each frame's α over memory that holds all."""
    stay = torch.zeros_like(skips, dtype=scores.dtype)
    steps = torch.stack([closed(skips, scores.dtype), stay, stay])
    result = scores.new_full((len(scores) + 1, stay.shape[0], stay.shape[1] + FRONT), NEVER)
    result[0, :, FRONT - 1] = 0
    terms, most = torch.empty_like(steps), torch.empty_like(stay)
    taken = scores.new_zeros(scores.shape[:2])
    for t, (before, after) in enumerate(zip(_three(result[:-1]), result[1:, :, FRONT:], strict=True)):
        _log_sum_into(after, torch.add(before, steps, out=terms), most).add_(scores[t])
        if (t + 1) % RENEWED == 0:
            renewal = largest(after)
            after.sub_(renewal)
            taken[t] = renewal.squeeze(1)
    return result, taken


def shares(scores: Tensor, skips: Tensor, frames: Tensor, labels: Tensor, reached: Tensor) -> Tensor:
    """Writes each frame's β over the one after, and the shares of the paths over α + β."""
    stay = torch.zeros_like(skips, dtype=scores.dtype)
    onward = scores.new_full((stay.shape[0], stay.shape[1] + 2), NEVER)
    steps = torch.stack([stay, stay, torch.full_like(stay, NEVER)])
    steps[2, :, :-2] = closed(skips, scores.dtype)[:, 2:]
    end = final(labels, stay)
    beta, terms, most = torch.full_like(stay, NEVER), torch.empty_like(steps), torch.empty_like(stay)
    result = torch.empty_like(reached)
    for t in reversed(range(len(scores))):
        if t < len(scores) - 1:
            torch.add(beta, scores[t + 1], out=onward[:, :-2])
            _log_sum_into(beta, torch.add(_three(onward), steps, out=terms), most)
        beta = torch.where((frames == t + 1).unsqueeze(1), end, beta)
        beta = beta if t % RENEWED else beta - largest(beta)
        torch.add(reached[t], beta, out=result[t])
    never = result.amax(-1, keepdim=True) == NEVER
    _exp_(result.sub_(largest(result)))
    return result.div_(result.sum(-1, keepdim=True)).masked_fill_(never, 0)


def _log_sum_into(out: Tensor, terms: Tensor, most: Tensor) -> Tensor:
    """Writes log Σ exp over the first dimension to ``out``, and overwrites the terms."""
    torch.amax(terms, 0, out=most)
    never = most == NEVER
    torch.sum(_exp_(terms.sub_(most.masked_fill_(never, 0))), 0, out=out)
    return out.log_().add_(most).masked_fill_(never, NEVER)


def _exp_(x: Tensor) -> Tensor:
    """Exp(x) in place, but not below the normal numbers, where the exponential is ten times as slow."""
    return x.clamp_(min=math.log(torch.finfo(x.dtype).tiny) + 1).exp_()


def _three(row: Tensor) -> Tensor:
    """Views the elements of (…, N, L + 2) in threes that follow one another: (…, 3, N, L)."""
    *lead, samples, width = row.shape
    stride = row.stride()
    return row.as_strided((*lead, 3, samples, width - 2), (*stride[:-2], stride[-1], *stride[-2:]))
