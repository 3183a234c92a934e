r"""Connectionist temporal classification: the probability of a sequence of labels, however it is stretched in time.

The labels y, with blanks before, between and after them, make the positions s = 0 … 2U: even ones are blank, and
odd ones carry the labels. A path starts before the first position, and with each frame stays, steps, or skips the
blank between two labels that differ. With x the log-probabilities, ⊕ the logarithm of the sum of exponentials, and
:math:`e_t(s) = x_{t, l(s)}` the score of the label l(s) at frame t, the paths up to a frame and from it sum to

.. math::
    \alpha_t(s) = e_t(s) + \left(\alpha_{t-1}(s) \oplus \alpha_{t-1}(s - 1) \oplus \alpha_{t-1}(s - 2)\right)
    \qquad
    \beta_t(s) = f_{t+1}(s) \oplus f_{t+1}(s + 1) \oplus f_{t+1}(s + 2), \quad f = \beta + e

where the last term is there only for a skip that is allowed, and β is 0 at the two positions where a path may end.
The loss is :math:`L = -(\alpha_T(2U) \oplus \alpha_T(2U - 1))`, and the share of the paths that are at s at frame t is
:math:`\gamma_t(s) = \exp(\alpha_t(s) + \beta_t(s) + L)`, so that

.. math::
    \frac{\partial L}{\partial x_{tk}} = e^{x_{tk}} - \sum_{s : l(s) = k} \gamma_t(s)

α and β grow with the frames, and so would their rounding: at each frame the largest score is taken out of all, every
few frames the largest α and β, and :math:`\gamma_t(s)` is :math:`\exp(\alpha_t(s) + \beta_t(s))` over its sum, which
is the same at every frame. What was taken out is added to the loss alone.

The first term is 0 on average for log-probabilities that a log-softmax made, whose backward removes it. PyTorch has
it, and what comes out is then the gradient of the logits; so it is here, in forward mode too.

Shapes: T frames, N sequences, C classes, S labels at most, L = 2S + 1 positions.

Source: Graves, Fernández, Gomez and Schmidhuber, "Connectionist Temporal Classification", ICML 2006.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, overridable, tensor
from scratchnet.function import Function, dispatch, readable, reuse
from scratchnet.losses import ctc_in_place
from scratchnet.losses.ctc_in_place import CLASS, FRONT, NEVER, RENEWED, closed, final, largest
from scratchnet.losses.reduction import reduce, reduction_of, unreduce

__all__ = ["CTCLossFunction", "ctc_loss"]

FRAME = 0

Lengths = Tensor | Sequence[int]


class CTCLossFunction(Function):
    """The loss of log-probabilities (T, N, C) for labels (N, S), padded at the end. Saves its inputs, α and L."""

    autocast = "float32"

    @staticmethod
    def forward(
        x: Tensor,
        targets: Tensor,
        frames: Tensor,
        labels: Tensor,
        *,
        blank: int,
        reduction: str,
        zero: bool,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The paths that end at one of the last two positions."""
        classes, skips = _positions(targets, labels, blank)
        scores, taken = _scores(x, classes)
        alpha, renewals = _alpha(scores, skips)
        last = alpha.gather(FRAME, frames.view(1, -1, 1).expand(1, *alpha.shape[1:])).squeeze(FRAME)
        ends = (2 * labels).unsqueeze(1) + torch.arange(FRONT - 1, FRONT + 1, device=labels.device)
        inside = torch.arange(x.shape[FRAME], device=x.device).unsqueeze(1) < frames
        loss = -_log_sum(last.gather(1, ends).T) - (taken + renewals).masked_fill(~inside, 0).sum(FRAME)
        losses = loss.masked_fill(loss == math.inf, 0) if zero else loss
        reached = alpha[1:, :, FRONT:].contiguous()
        return _reduced(losses, labels, reduction), (x, targets, frames, labels, reached, loss)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, blank: int, reduction: str, zero: bool
    ) -> tuple[Tensor, None, None, None]:
        """The probabilities less the shares of the paths, frame by frame."""
        labels = saved[3]
        upstream = unreduce(grad, labels, reduction)
        upstream = upstream / labels.clamp(min=1) if reduction == "mean" else upstream.expand(labels.shape)
        slope = _slope(*saved, blank=blank, zero=zero)
        return slope * upstream.view(1, -1, 1), None, None, None

    @staticmethod
    def jvp(
        tangents: Sequence[Tensor], saved: Sequence[Tensor], *, blank: int, reduction: str, zero: bool
    ) -> Tensor:
        """The slope times the tangent, summed over frames and classes."""
        slope = _slope(*saved, blank=blank, zero=zero)
        return _reduced((slope * tangents[0]).sum((FRAME, CLASS)), saved[3], reduction)


def _positions(targets: Tensor, labels: Tensor, blank: int) -> tuple[Tensor, Tensor]:
    """The class at each position, (N, L), and which positions may be reached by a skip."""
    behind = torch.arange(targets.shape[1], device=targets.device) >= labels.unsqueeze(1)
    targets = targets.masked_fill(behind, blank)
    woven = torch.stack([torch.full_like(targets, blank), targets], 2).flatten(1)
    no = torch.zeros_like(targets, dtype=torch.bool)
    # The first label is reached by a skip from where all paths start.
    differs = torch.cat([~no[:, :1], targets[:, 1:] != targets[:, :-1]], 1)
    may_skip = torch.stack([no, differs], 2).flatten(1)
    end = targets.new_full((targets.shape[0], 1), blank)
    return torch.cat([woven, end], 1), torch.cat([may_skip, torch.zeros_like(end, dtype=torch.bool)], 1)


def _scores(x: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """The log-probability at each frame of the class that each position carries less the largest; and that (T, N)."""
    scores = x.gather(CLASS, classes.expand(x.shape[FRAME], *classes.shape))
    taken = largest(scores)
    return scores - taken, taken.squeeze(-1)


def _log_sum(terms: Tensor) -> Tensor:
    """Log Σ exp over the first dimension; -inf where all are, and then without a slope."""
    most = terms.amax(0).detach()
    never = most == NEVER
    most = most.masked_fill(never, 0)
    total = torch.exp(terms - most).sum(0)
    return (torch.log(total.masked_fill(never, 1)) + most).masked_fill(never, NEVER)


@dispatch(ctc_in_place.alpha)
def _alpha(scores: Tensor, skips: Tensor) -> tuple[Tensor, Tensor]:
    """α after 0 … T frames, with the two positions in front, (T + 1, N, L + 2); what each frame took from it (T, N)."""
    skip = closed(skips, scores.dtype)
    front = scores.new_full((skips.shape[0], 1), NEVER)
    rows = [torch.cat([front, torch.zeros_like(front), torch.full_like(skip, NEVER)], 1)]
    renewals = []
    for t, score in enumerate(scores):
        row = rows[-1]
        reached = score + _log_sum(torch.stack([row[:, :-2] + skip, row[:, 1:-1], row[:, 2:]]))
        renewals.append(torch.zeros_like(front) if (t + 1) % RENEWED else largest(reached))
        rows.append(torch.cat([front, front, reached - renewals[-1]], 1))
    return torch.stack(rows), torch.cat(renewals, 1).T


def _betas(scores: Tensor, skips: Tensor, frames: Tensor, labels: Tensor) -> Iterator[Tensor]:
    """β at each frame up to a constant, from the last to the first, (N, L) each."""
    behind = scores.new_full((skips.shape[0], 2), NEVER)
    skip = torch.cat([closed(skips, scores.dtype), behind], 1)[:, 2:]
    end, beta = final(labels, skip), torch.full_like(skip, NEVER)
    last_frame = scores.shape[0] - 1
    for t in reversed(range(last_frame + 1)):
        if t < last_frame:
            onward = torch.cat([beta + scores[t + 1], behind], 1)
            beta = _log_sum(torch.stack([onward[:, :-2], onward[:, 1:-1], onward[:, 2:] + skip]))
        beta = torch.where((frames == t + 1).unsqueeze(1), end, beta)
        beta = beta if t % RENEWED else beta - largest(beta)
        yield beta


def _slope(
    x: Tensor,
    targets: Tensor,
    frames: Tensor,
    labels: Tensor,
    reached: Tensor,
    loss: Tensor,
    *,
    blank: int,
    zero: bool,
) -> Tensor:
    """The derivative of each sample's loss by its log-probabilities: 0 behind its last frame, NaN if infinite."""
    impossible = loss == math.inf
    classes, skips = _positions(targets, labels, blank)
    index = classes.expand(x.shape[FRAME], *classes.shape)
    inside = torch.arange(x.shape[FRAME], device=x.device).unsqueeze(1) < frames
    other = torch.where(impossible & inside, 0.0 if zero else math.nan, 0.0).to(x.dtype)
    shares = _shares(_scores(x, classes)[0], skips, frames, labels, reached)
    slope = reuse(torch.scatter_add, torch.exp(x).contiguous(), CLASS, index, reuse(torch.neg, shares))
    return torch.where((inside & ~impossible).unsqueeze(CLASS), slope, other.unsqueeze(CLASS))


@dispatch(ctc_in_place.shares)
def _shares(scores: Tensor, skips: Tensor, frames: Tensor, labels: Tensor, reached: Tensor) -> Tensor:
    """The shares of the paths, γ; 0 where there are none."""
    betas = _betas(scores, skips, frames, labels)
    both = torch.stack([row + beta for row, beta in zip(reversed(reached.unbind()), betas, strict=True)][::-1])
    total = _log_sum(both.movedim(-1, 0)).unsqueeze(-1)
    return torch.exp(both - total.masked_fill(total == NEVER, 0))


def _reduced(losses: Tensor, labels: Tensor, reduction: str) -> Tensor:
    """Like `reduce`, but the mean is that of the losses for each label."""
    return reduce(losses / labels.clamp(min=1) if reduction == "mean" else losses, reduction)


@overridable
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """The negative log-probability of label sequences that are not aligned with the frames.

    Args:
        log_probs: logarithms of probabilities, as a log-softmax over the classes makes them, of shape
            ``(T, N, C)``, or ``(T, C)`` for one sequence.
        targets: the labels: ``(N, S)`` padded behind each sequence's end, or all sequences one after the other.
        input_lengths: how many frames each sequence has: ``(N,)``, a tensor or a tuple of ints.
        target_lengths: how many labels each sequence has: ``(N,)``, a tensor or a tuple of ints.
        blank: the class of the blank.
        reduction: ``"none"``, ``"mean"`` (of each loss over its number of labels) or ``"sum"``.
        zero_infinity: count a sequence that has too few frames for its labels as 0, without a gradient.

    Returns:
        A scalar, or a tensor of shape ``(N,)``, ``()`` for one sequence, for ``reduction="none"``. A sequence with
        fewer frames than labels, and one more for each label that follows an equal one, costs ∞.

    Raises:
        TypeError: if an argument is no tensor.
        NotImplementedError: if the log-probabilities are not floating point.
        RuntimeError: if a shape, a length, a label or the blank does not fit.
        ValueError: if ``reduction`` is unknown.
    """
    op = "ctc_loss"
    reduction = reduction_of(op, reduction)
    x, targets = floating(op, log_probs), tensor(op, targets, "targets")
    if x.dim() not in (2, 3) or x.numel() == 0:
        raise RuntimeError(f"{op}: expected log_probs of shape (T, N, C) or (T, C), not empty, got {describe(x)}")
    alone = x.dim() == 2
    x = x.unsqueeze(1) if alone else x
    if not 0 <= blank < x.shape[CLASS]:
        raise RuntimeError(f"{op}: expected blank from 0 to {x.shape[CLASS] - 1}, got {blank}")
    frames = _lengths(op, input_lengths, "input_lengths", x, x.shape[FRAME])
    padded = targets.dim() == 2
    if targets.dim() not in (1, 2) or (padded and targets.shape[0] != x.shape[1]):
        raise RuntimeError(
            f"{op}: expected targets of shape ({x.shape[1]}, S), or one after the other in one dimension, got "
            f"{describe(targets)}"
        )
    labels = _lengths(op, target_lengths, "target_lengths", x, targets.shape[-1])
    spelled = _padded(op, targets.to(x.device).long(), labels, blank, x.shape[CLASS])
    losses = CTCLossFunction.apply(x, spelled, frames, labels, blank, reduction, zero_infinity)
    return losses.squeeze(0) if alone and reduction == "none" else losses


def _lengths(op: str, lengths: Lengths, name: str, x: Tensor, most: int) -> Tensor:
    """One length for each sequence, on the device of the computation."""
    if not isinstance(lengths, Tensor):
        lengths = torch.tensor(lengths, dtype=torch.int64)
    if lengths.is_floating_point():
        raise RuntimeError(f"{op}: expected whole numbers as {name}, got {describe(lengths)}; use .long()")
    if lengths.dim() > 1 or lengths.numel() != x.shape[1]:
        raise RuntimeError(f"{op}: expected {name} of shape ({x.shape[1]},), got {describe(lengths)}")
    if readable(lengths):
        for sample, length in enumerate(lengths.reshape(-1).tolist()):
            if not 0 <= length <= most:
                raise RuntimeError(f"{op}: expected {name} from 0 to {most}, got {length} for sample {sample}")
    return lengths.reshape(-1).to(x.device, torch.int64)


def _padded(op: str, targets: Tensor, labels: Tensor, blank: int, classes: int) -> Tensor:
    """The labels of each sequence, and anything behind them: (N, S)."""
    known = readable(labels)
    if targets.dim() == 1:
        if known and int(labels.sum()) != targets.numel():
            raise RuntimeError(
                f"{op}: expected as many targets as target_lengths say, {int(labels.sum())}, got {describe(targets)}"
            )
        most = int(labels.max()) if known else targets.numel()
        start = (labels.cumsum(0) - labels).unsqueeze(1)
        place = (start + torch.arange(most, device=labels.device)).clamp(max=max(targets.numel() - 1, 0))
        padded = targets[place] if targets.numel() else targets.new_zeros(place.shape)
    else:
        padded = targets[:, : int(labels.max())] if known else targets
    if known:
        behind = torch.arange(padded.shape[1], device=labels.device) >= labels.unsqueeze(1)
        spelled = padded.masked_fill(behind, blank)
        outside = (spelled < 0) | (spelled >= classes)
        if bool(outside.any()):
            sample, label = outside.nonzero()[0].tolist()
            raise RuntimeError(
                f"{op}: expected labels from 0 to {classes - 1}, got {spelled[sample, label]} for sample {sample}"
            )
    return padded
