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
memory of a language model's step. Here a chunk of rows at a time goes through the product and the exponential, and is
turned into δ where it lies. Of a sum or a mean of the losses each row's share is known at once, but for a factor that
they all have in common: the chunk's two products are added up on the way forward, before its logits make room for
those of the next one, and only the sums are kept. Where each row's loss may get a gradient of its own, the two halves
of the log-sum-exp are kept for each row, m and s, and the backward makes the chunk's logits again.

Shapes: N rows of D features, C classes, any further dimensions d; input (N, D) or (D,), weight (C, d…, D), bias
(C, d…), target indices (N, d…) or (), or distributions (N, C, d…) or (C,).

Source: Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models", ICLR 2025; Hsu et al., "Liger Kernel:
Efficient Triton Kernels for LLM Training", 2024, for the gradients on the way forward; Milakov and Gimelshein,
"Online Normalizer Calculation for Softmax", 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from scratchnet.arguments import autocasts, describe, floating, overridable, tensor
from scratchnet.function import Function, Product, chunked, transformed
from scratchnet.losses.class_targets import ClassTargets, check_smoothing, checked
from scratchnet.losses.cross_entropy import cross_entropy
from scratchnet.losses.logit_chunks import delta, gradients, logits, powers_of, with_losses
from scratchnet.losses.reduction import reduction_of

__all__ = ["LinearCrossEntropyFunction", "ReducedLinearCrossEntropyFunction", "linear_cross_entropy"]

CHUNK_ELEMENTS = 1 << 25


class ReducedLinearCrossEntropyFunction(Function):
    """Sums the rows' losses, each times its weight, or averages them. Saves its inputs, and the sum's gradients.

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
        scale: Tensor | None,
        kept: Tensor | None,
        *,
        smoothing: float,
        rows: int,
        reduction: str,
        asked: tuple[bool, bool, bool],
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """Computes, chunk by chunk, the losses, then δ and its products with the weight and with the rows."""

        def step(x: Tensor, target: Tensor, scale: Tensor | None) -> tuple[Tensor | Product | None, ...]:
            found = with_losses(logits(x, weight, bias), target, smoothing)
            if not any(asked):
                return found.losses, None, None, None
            share = torch.ones_like(found.total) if scale is None else scale
            operands = (x, target, found.powers, found.total, share)
            return found.losses, *gradients(*operands, weight=weight, needs=asked, smoothing=smoothing)

        losses, of_x, of_weight, of_bias = chunked(step, x, target, scale, size=rows, added=(2, 3))
        targets = ClassTargets(target, scale, kept)
        loss = targets.average(targets.weighted(losses), reduction)
        return loss, (x, weight, bias, target, scale, kept, of_x, of_weight, _flat(of_bias))

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, reduction: str, **_: Any
    ) -> tuple[Tensor | None, ...]:
        """Multiplies the upstream of each loss with the gradients that the forward found."""
        factor = ClassTargets(*saved[3:6]).factor(grad, reduction)
        pairs = zip(saved[-3:], needs[:3], strict=True)
        of_x, of_weight, of_bias = (factor * found if needed else None for found, needed in pairs)
        return of_x, of_weight, of_bias, None, None, None

    @staticmethod
    def jvp(
        tangents: Sequence[Tensor], saved: Sequence[Tensor], *, smoothing: float, reduction: str, **_: Any
    ) -> Tensor:
        """Reduces the losses' tangents, as the reduction is linear."""
        x, weight, bias, target = saved[:4]
        found = with_losses(logits(x, weight, bias), target, smoothing)
        targets = ClassTargets(*saved[3:6])
        changes = _changes(tangents, saved, found.powers, found.total, smoothing)
        return targets.average(targets.weighted(changes), reduction)


class LinearCrossEntropyFunction(Function):
    """Returns the loss of each row. Saves its inputs, m and s; computes in the dtypes of the sum."""

    native_low_precision = True

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, *, smoothing: float, rows: int
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """Computes the losses chunk by chunk."""

        def step(x: Tensor, target: Tensor) -> tuple[Tensor, ...]:
            return with_losses(logits(x, weight, bias), target, smoothing)[:3]

        losses, top, total = chunked(step, x, target, size=rows)
        return losses, (x, weight, bias, target, top, total)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, smoothing: float, rows: int
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        """Computes, chunk by chunk, the logits again, δ, and its products with the weight and with the rows."""
        x, weight, bias, target, top, total = saved

        def step(
            x: Tensor, target: Tensor, top: Tensor, total: Tensor, grad: Tensor
        ) -> tuple[Tensor | Product | None, ...]:
            powers = powers_of(logits(x, weight, bias), top)
            return gradients(x, target, powers, total, grad, weight=weight, needs=needs, smoothing=smoothing)

        of_x, of_weight, of_bias = chunked(step, x, target, top, total, grad, size=rows, added=(1, 2))
        return of_x, of_weight, _flat(of_bias), None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, smoothing: float, rows: int) -> Tensor:
        """Returns the tangent of each row's loss."""
        x, weight, bias, _, top, total = saved
        return _changes(tangents, saved, powers_of(logits(x, weight, bias), top), total, smoothing)


def _flat(of_bias: Tensor | None) -> Tensor | None:
    return None if of_bias is None else of_bias.squeeze(1)


def _changes(
    tangents: Sequence[Tensor], saved: Sequence[Tensor], powers: Tensor, total: Tensor, smoothing: float
) -> Tensor:
    """Returns the tangents of the rows' losses: δ times the tangents of the logits."""
    x, weight, bias, target = saved[:4]
    change = tangents[0] @ weight.T + x @ tangents[1].T
    change = change if bias is None else change + tangents[2]
    return (delta(powers, target, total, smoothing) * change).sum(1)


@overridable
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
    if options is not None and not hasattr(options, "batch_chunk_size"):
        raise TypeError(f"{op}: expected options to be LinearCrossEntropyOptions, got {describe(options)}")
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
    check_smoothing(op, label_smoothing)
    stand_in = x.new_empty(()).expand(shape)  # for the logits, which are not there
    _, labels, alone, known = checked(op, stand_in, target, weight, ignored)
    rows = getattr(options, "batch_chunk_size", None) or max(1, CHUNK_ELEMENTS // max(shape[-1], 1))
    wide = torch.promote_types(x.dtype, torch.float32)  # of the losses
    class_weight = None if weight is None else weight.to(wide)
    targets = ClassTargets.of(labels, class_weight, known, wide)
    x = x.unsqueeze(0) if alone else x
    if targets.kept is not None:  # an ignored row has no gradient, whatever it holds
        x = x.masked_fill(~targets.kept.unsqueeze(1), 0)
    factors = x, linear_weight, biases[0] if biases else None
    # The gradient of a sum may lie beyond float16, though that of its mean does not.
    if reduction == "none" or x.dtype is torch.float16:
        each = LinearCrossEntropyFunction.apply(*factors, targets.labels, label_smoothing, rows)
        losses = targets.average(targets.weighted(each), reduction)
    else:
        asked = tuple(map(_may_be_asked, factors))
        losses = ReducedLinearCrossEntropyFunction.apply(
            *factors, *targets, label_smoothing, rows, reduction, asked
        )
    losses = losses.to(dtype)
    return losses.view(target.shape) if alone and reduction == "none" else losses


def _may_be_asked(factor: Tensor | None) -> bool:
    """Returns whether the gradient of a factor may be wanted; a transform's factors do not tell."""
    if factor is None or torch.compiler.is_compiling() or transformed():
        return factor is not None
    return factor.requires_grad and torch.is_grad_enabled()


def _for_product(op: str, given: Sequence[Tensor]) -> tuple[list[Tensor], torch.dtype]:
    """Returns the factors in the dtype in which `torch.autocast` would multiply them, and the dtype of the loss."""
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
    """Checks shapes, in the order in which a reader would look at them."""
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
