r"""Cross entropy of logits that a linear map makes, without ever holding all of them.

With hidden states x of D features, a weight W and a bias b, the logits z = W x + b of C classes, their
log-sum-exp :math:`\ell = m + \log s` with :math:`m = \max z` and :math:`s = \sum e^{z - m}`, the softmax
:math:`p = e^{z - m} / s`, a class y, and label smoothing ε:

.. math::
    L = \ell - (1 - \epsilon) z_y - \frac{\epsilon}{C} \sum_c z_c
    \qquad \delta = \frac{\partial L}{\partial z} = p - (1 - \epsilon) 1_y - \frac{\epsilon}{C}

    \frac{\partial L}{\partial x} = W^\top \delta
    \qquad \frac{\partial L}{\partial W} = \delta x^\top
    \qquad \frac{\partial L}{\partial b} = \delta

A vocabulary has many more classes than a hidden state has features, so logits and their gradient take most of the
memory of a language model's step. Here a chunk of rows at a time goes through the product and the exponential, and
only the two halves of the log-sum-exp are kept for each row, m and s; the backward makes the chunk's logits again,
turns them into δ where they lie, and adds up its two products. The last chunk's exponentials, which are still there
when the forward ends, are kept too, and spare it one product.

Shapes: N rows of D features, C classes, any further dimensions d; input (N, D) or (D,), weight (C, d…, D), bias
(C, d…), target indices (N, d…) or (), or distributions (N, C, d…) or (C,).

Source: Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models", ICLR 2025; Milakov and Gimelshein,
"Online Normalizer Calculation for Softmax", 2018.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from scratchnet.arguments import autocasts, describe, floating, tensor
from scratchnet.function import LOW_PRECISION, Function, unobserved
from scratchnet.layers.linear import Linear
from scratchnet.losses.cross_entropy import average, checked, cross_entropy, index_targets, pick
from scratchnet.losses.reduction import WeightedLoss, constant_weight, reduction_of

__all__ = ["LinearCrossEntropyFunction", "LinearCrossEntropyLoss", "linear_cross_entropy"]

CHUNK_ELEMENTS = 1 << 25


class LinearCrossEntropyFunction(Function):
    """The loss of each row, 0 where ``kept`` is false. Keeps its inputs, m, s, and e^{z - m} of the last chunk.

    In float16 and bfloat16 the products take and give that dtype, as a linear layer's would, and everything else,
    the losses too, is float32.
    """

    native_low_precision = True

    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        kept: Tensor,
        *,
        smoothing: float,
        rows: int,
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """log s less the target's logit above m, and less the mean logit above m where labels are smoothed."""
        losses, tops, sums = [], [], []
        room = _room(x, weight, rows)
        for part in _chunks(x.shape[0], rows):
            z = _logits(x[part], weight, bias, room)
            top = _largest(z)
            above = _minus(z, top)
            rest = (1 - smoothing) * pick(above, target[part])
            rest = rest + smoothing * above.mean(1) if smoothing else rest
            powers = above.exp_() if unobserved() else torch.exp(above)
            total = powers.sum(1)
            losses.append(torch.log(total) - rest)
            tops.append(top)
            sums.append(total)
        last = powers if len(losses) > 1 else None
        saved = (x, weight, bias, target, kept, torch.cat(tops), torch.cat(sums), last)
        return torch.cat(losses).masked_fill(~kept, 0), saved

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, smoothing: float, rows: int
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        """Chunk by chunk, δ and its products with the weight and with the rows.

        What scales a row of δ scales the row of x, or of the product, instead: they are shorter.
        """
        x, weight, bias, target, kept, top, total, last = saved
        divided = x.dtype in LOW_PRECISION  # s may be too large for them
        scale = grad.masked_fill(~kept, 0).unsqueeze(1)
        scale = scale if divided else scale / total.unsqueeze(1)
        parts_x: list[Tensor] = []
        grad_weight = grad_bias = None
        room = _room(x, weight, rows)
        for part in _chunks(x.shape[0], rows):
            if last is not None and unobserved() and part.stop >= x.shape[0]:
                powers = _copied(last, room)
            else:
                powers = _powers(_logits(x[part], weight, bias, room), top[part])
            delta = _delta(powers, target[part], total[part], smoothing=smoothing, divided=divided)
            delta = delta.to(x.dtype)
            if needs[0]:
                parts_x.append(scale[part] * (delta @ weight))
            if needs[1]:
                grad_weight = _plus_product(grad_weight, delta, (scale[part] * x[part]).to(x.dtype))
            if needs[2]:
                grad_bias = _plus_product(grad_bias, delta, scale[part].to(x.dtype))
        grad_bias = None if grad_bias is None else grad_bias.squeeze(1)
        return torch.cat(parts_x) if parts_x else None, grad_weight, grad_bias, None, None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, smoothing: float, rows: int) -> Tensor:
        """δ times the change of the logits."""
        x, weight, bias, target, kept, top, total, _ = saved
        delta = _delta(_powers(_logits(x, weight, bias), top), target, total, smoothing=smoothing)
        change = tangents[0] @ weight.T + x @ tangents[1].T
        change = change if bias is None else change + tangents[2]
        return (delta * change).sum(1).masked_fill(~kept, 0)


def _chunks(samples: int, rows: int) -> Iterator[slice]:
    """Slices of so many rows, or one of all where autograd is to see the mathematics."""
    if not unobserved() or samples <= rows:
        return iter([slice(0, samples)])
    return (slice(start, start + rows) for start in range(0, samples, rows))


def _room(x: Tensor, weight: Tensor, rows: int) -> Tensor | None:
    """Memory for one chunk's logits, used again by each: fresh memory costs more than the exponential."""
    return x.new_empty(min(rows, x.shape[0]), weight.shape[0]) if unobserved() else None


def _logits(x: Tensor, weight: Tensor, bias: Tensor | None, room: Tensor | None = None) -> Tensor:
    """The product in the dtype of its factors, in at least float32 from then on."""
    out = None if room is None else room[: x.shape[0]]
    z = torch.mm(x, weight.T, out=out) if bias is None else torch.addmm(bias, x, weight.T, out=out)
    return z if z.dtype is torch.float64 else z.float()


def _largest(z: Tensor) -> Tensor:
    """m, the largest logit of each row, a constant: it cancels."""
    return (z.amax(1) if z.numel() else z.sum(1)).detach()


def _minus(z: Tensor, top: Tensor) -> Tensor:
    """The logits less the largest of their row, in their place where nobody watches."""
    return z.sub_(top.unsqueeze(1)) if unobserved() else z - top.unsqueeze(1)


def _powers(z: Tensor, top: Tensor) -> Tensor:
    """e^{z - m}, in the place of the logits where nobody watches."""
    above = _minus(z, top)
    return above.exp_() if unobserved() else torch.exp(above)


def _copied(powers: Tensor, room: Tensor | None) -> Tensor:
    """The powers that were kept, where they may be written to."""
    if room is None or room.dtype is not powers.dtype:
        return powers.clone()
    return room[: powers.shape[0]].copy_(powers)


def _delta(powers: Tensor, target: Tensor, total: Tensor, *, smoothing: float, divided: bool = True) -> Tensor:
    """δ, or δ times s, in the place of the powers where nobody watches."""
    delta, s = powers, total.unsqueeze(1)
    if divided:
        delta, s = delta / s, torch.ones_like(s)
    delta = delta - smoothing / max(powers.shape[1], 1) * s if smoothing else delta
    place, at_target = target.unsqueeze(1), (smoothing - 1) * s
    return delta.scatter_add_(1, place, at_target) if unobserved() else delta.scatter_add(1, place, at_target)


def _plus_product(total: Tensor | None, delta: Tensor, x: Tensor) -> Tensor:
    """The weight's gradient so far and that of one chunk, summed in float32 at least."""
    if total is None:
        return delta.T @ x
    if delta.dtype in (torch.float32, torch.float64):
        return total.addmm_(delta.T, x)
    return total.float().add_(delta.T @ x)


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Tensor:
    """Cross entropy of ``input @ linear_weight.T + linear_bias``, whose logits are made a chunk of rows at a time.

    Distributions as targets, weights of further dimensions and smoothing with class weights make all logits at once.

    Args:
        input: hidden states of shape ``(N, D)`` or ``(D,)``.
        linear_weight: of shape ``(C, D)``, or ``(C, d…, D)``, which makes logits of shape ``(N, C, d…)``.
        target: class indices of shape ``(N, d…)`` or ``()``, or probabilities of the logits' shape.
        linear_bias: of the weight's shape without its last dimension.
        weight: a constant of shape ``(C,)``: the weight of each class.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        ignore_index: rows with this target index count for nothing; -100 where it is None.
        label_smoothing: the share of the uniform distribution mixed into the target, between 0 and 1.
        options: PyTorch's ``LinearCrossEntropyOptions``, of which ``batch_chunk_size`` sets the rows of a chunk;
            nothing else needs a choice here.

    Returns:
        A scalar, or one loss for each row for ``reduction="none"``.

    Raises:
        TypeError: if an argument is no tensor.
        NotImplementedError: if the input is not floating point.
        ValueError: if the batch sizes differ, or ``reduction`` is unknown.
        RuntimeError: if a shape, a dtype, the smoothing or the ``ignore_index`` does not fit.
        IndexError: if a target is no class.
    """
    op = "linear_cross_entropy"
    x, linear_weight = floating(op, input), floating(op, linear_weight, "linear_weight")
    target = tensor(op, target, "target")
    _check(op, x, linear_weight, linear_bias, target, ignore_index)
    reduction = reduction_of(op, reduction)
    ignored = -100 if ignore_index is None else ignore_index
    given = [x, linear_weight] if linear_bias is None else [x, linear_weight, linear_bias]
    (x, linear_weight, *biases), dtype = _for_product(op, given)
    shape = (*x.shape[:-1], *linear_weight.shape[:-1])
    if linear_weight.dim() > 2 or target.shape == shape or (label_smoothing and weight is not None):
        flat = linear_weight.flatten(0, -2)
        z = x @ flat.T + biases[0].flatten() if biases else x @ flat.T
        return cross_entropy(
            z.view(shape), target, weight, None, ignored, None, reduction, label_smoothing=label_smoothing
        )
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"{op}: expected label_smoothing between 0 and 1, got {label_smoothing}")
    stand_in = x.new_empty(()).expand(shape)  # for the logits, which are not there
    _, labels, alone, _ = checked(op, stand_in, target, weight, ignored)
    rows = getattr(options, "batch_chunk_size", None) or max(1, CHUNK_ELEMENTS // max(shape[-1], 1))
    index, _, kept = index_targets(x, labels, None, ignored)
    losses = LinearCrossEntropyFunction.apply(
        x.unsqueeze(0) if alone else x,
        linear_weight,
        biases[0] if biases else None,
        index,
        kept,
        label_smoothing,
        rows,
    )
    class_weight = constant_weight(op, weight)
    class_weight = None if class_weight is None else class_weight.to(losses.dtype)
    _, scale, _ = index_targets(losses, labels, class_weight, ignored)
    losses = average(losses if class_weight is None else losses * scale, scale, reduction).to(dtype)
    return losses.view(target.shape) if alone and reduction == "none" else losses


def _for_product(op: str, given: Sequence[Tensor]) -> tuple[list[Tensor], torch.dtype]:
    """The factors in the dtype in which `torch.autocast` would multiply them, and the dtype of the loss."""
    dtypes = {x.dtype for x in given}
    if autocasts(given[0]) and torch.float64 not in dtypes:
        low = torch.get_autocast_dtype(given[0].device.type)
        return [x.to(low) for x in given], torch.float32
    if len(dtypes) > 1:
        raise RuntimeError(
            f"{op}: expected input, linear_weight and linear_bias of one dtype, got "
            f"{', '.join(describe(x) for x in given)}"
        )
    return list(given), given[0].dtype


def _check(
    op: str,
    x: Tensor,
    linear_weight: Tensor,
    linear_bias: Tensor | None,
    target: Tensor,
    ignore_index: int | None,
) -> None:
    """Shapes, in the order in which a reader would look at them."""
    if not 1 <= x.dim() <= 2:
        raise RuntimeError(f"{op}: expected input of shape (N, D) or (D,), got {describe(x)}")
    if linear_weight.dim() < 2 or linear_weight.shape[-1] != x.shape[-1]:
        raise RuntimeError(
            f"{op}: expected linear_weight of shape (C, …, {x.shape[-1]}) for {describe(x)}, got "
            f"{describe(linear_weight)}"
        )
    outputs = tuple(linear_weight.shape[:-1])
    if linear_bias is not None and tensor(op, linear_bias, "linear_bias").shape != outputs:
        raise RuntimeError(f"{op}: expected linear_bias of shape {outputs}, got {describe(linear_bias)}")
    if len(outputs) > 1 and x.dim() == 1:
        raise RuntimeError(
            f"{op}: expected input of shape (N, D) with linear_weight of shape {tuple(linear_weight.shape)}, got "
            f"{describe(x)}; use input.unsqueeze(0)"
        )
    if target.shape == (*x.shape[:-1], *outputs) and ignore_index is not None:
        raise RuntimeError(f"{op}: expected no ignore_index with probabilities as target, got {ignore_index}")


class LinearCrossEntropyLoss(WeightedLoss):
    """`linear_cross_entropy` with the linear map's weight and bias as parameters, in ``linear``.

    Args:
        in_features: D, the size of a hidden state.
        num_classes: C.
        out_features: further dimensions d… of the logits, (N, C, d…).
        bias: whether to learn a bias.
        device: where the parameters live.
        dtype: their dtype.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        weight: the weight of each class, of shape ``(C,)``.
        ignore_index: targets that count for nothing.
        label_smoothing: the share of the uniform distribution mixed into the target.
        options: as of `linear_cross_entropy`.

    Raises:
        RuntimeError: if the weight's shape or the smoothing does not fit.
    """

    __constants__ = ["num_classes", "out_features", "reduction", "ignore_index", "label_smoothing"]

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: Any = None,
    ) -> None:
        name = "LinearCrossEntropyLoss"
        if weight is not None and weight.shape != (num_classes,):
            raise RuntimeError(f"{name}: expected weight of shape ({num_classes},), got {describe(weight)}")
        if not 0 <= label_smoothing <= 1:
            raise RuntimeError(f"{name}: expected label_smoothing between 0 and 1, got {label_smoothing}")
        super().__init__(weight, reduction=reduction)
        self.num_classes = num_classes
        self.out_features = out_features
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.linear = Linear(in_features, math.prod(out_features, start=num_classes), bias, device, dtype)
        self.options = options

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Applies `linear_cross_entropy`."""
        outputs = (self.num_classes, *self.out_features)
        return linear_cross_entropy(
            input,
            self.linear.weight.view(*outputs, self.linear.in_features),
            target,
            linear_bias=None if self.linear.bias is None else self.linear.bias.view(outputs),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
        )

    def extra_repr(self) -> str:
        """The sizes and options."""
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, "
            f"out_features={self.out_features}, bias={self.linear.bias is not None}, reduction={self.reduction}, "
            f"ignore_index={self.ignore_index}, label_smoothing={self.label_smoothing}, options={self.options}"
        )
