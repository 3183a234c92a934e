"""The update of Adam and AdamW, for one tensor and for a list of tensors that are at the same step.

Both run the same operations in the same order, so they agree to the last bit. The one for a single tensor also records
itself for autograd, and runs without reading numbers that are tensors.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from scratchnet.optim.base import Row

__all__ = ["Rule", "in_reals", "update_batch", "update_one"]


class Rule(NamedTuple):
    """Options of a parameter group that enter the update; ``Any`` stands for a number or a tensor."""

    lr: Any
    beta1: Any
    beta2: Any
    eps: float
    weight_decay: Any
    decoupled: bool
    maximize: bool
    counts_in_tensors: bool


def in_reals(tensor: Tensor) -> Tensor:
    """Returns a complex tensor as pairs of real numbers."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def update_one(rule: Rule, step: Tensor, row: Row) -> None:
    """Updates one tensor and its averages in place."""
    lr, beta1, beta2, eps, weight_decay, decoupled, maximize, counts_in_tensors = rule
    param, grad = row[:2]
    if maximize:
        grad = -grad
    if weight_decay != 0:
        if decoupled:
            param.mul_(1 - lr * weight_decay)
        elif isinstance(weight_decay, Tensor) and counts_in_tensors:
            grad = grad.addcmul(param.clone(), weight_decay)  # autograd keeps the factor, which changes below
        else:
            grad = grad.add(param, alpha=weight_decay)
    param, grad, exp_avg, exp_avg_sq, *maximum = map(in_reals, (param, grad, *row[2:]))
    exp_avg.lerp_(grad, 1 - (beta1.to(param) if isinstance(beta1, Tensor) else beta1))
    if isinstance(beta2, Tensor) and counts_in_tensors:
        exp_avg_sq.mul_(beta2).addcmul_(grad * (1 - beta2), grad)
    else:
        exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    if torch.is_grad_enabled():  # autograd keeps what the next step overwrites
        step, exp_avg, exp_avg_sq = step.clone(), exp_avg.clone(), exp_avg_sq.clone()
    if maximum:
        exp_avg_sq = maximum[0].copy_(torch.maximum(maximum[0].clone(), exp_avg_sq))
    if counts_in_tensors:
        if torch.compiler.is_compiling():  # which makes steps capturable: 1 - beta2**1 in float32 is off by 1e-5
            step = step.double()
        rate = -lr / (1 - beta1**step)
        scale = (1 - beta2**step).sqrt() * rate
        param.addcdiv_(exp_avg, (exp_avg_sq.sqrt() / scale).add_(eps / rate))
    else:
        count = step.item()
        root = (exp_avg_sq.sqrt() / (1 - beta2**count) ** 0.5).add_(eps)
        param.addcdiv_(exp_avg, root, value=-lr / (1 - beta1**count))


def update_batch(rule: Rule, step: float, batch: list[Row]) -> None:
    """Updates many tensors and their averages in place, all at the same step."""
    lr, beta1, beta2, eps, weight_decay, decoupled, maximize, _ = rule
    params, grads, exp_avgs, exp_avg_sqs, *maxima = zip(*batch, strict=True)
    owned = False  # p.grad belongs to the user: the first change copies it, a later one reuses the copy
    if maximize:
        grads, owned = torch._foreach_neg(grads), True
    if weight_decay != 0:
        if decoupled:
            torch._foreach_mul_(params, 1 - lr * weight_decay)
        elif owned:
            torch._foreach_add_(grads, params, alpha=weight_decay)
        else:
            grads = torch._foreach_add(grads, params, alpha=weight_decay)
    torch._foreach_lerp_(exp_avgs, grads, 1 - beta1)
    torch._foreach_mul_(exp_avg_sqs, beta2)
    torch._foreach_addcmul_(exp_avg_sqs, grads, grads, 1 - beta2)
    if maxima:
        torch._foreach_maximum_(maxima[0], exp_avg_sqs)
        (exp_avg_sqs,) = maxima
    roots = torch._foreach_sqrt(exp_avg_sqs)
    torch._foreach_div_(roots, (1 - beta2**step) ** 0.5)
    torch._foreach_add_(roots, eps)
    torch._foreach_addcdiv_(params, exp_avgs, roots, -lr / (1 - beta1**step))
