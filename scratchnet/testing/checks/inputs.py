"""Other inputs made from the given ones: shorter dtypes, special values, other layouts, empty, zero-dimensional."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from scratchnet.testing.checks.values import forward_mode, gradients, output
from scratchnet.testing.examination import Examination
from scratchnet.testing.subject import Call, as_real, differentiable, mapped

__all__ = ["dtypes", "empty", "special_values", "strided"]

OFFSET = 4096.0
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def _once(on: Examination) -> None:
    """Output and gradients under one random upstream, where the built-in takes the call."""
    if output(on):
        for upstream in on.upstreams[:1]:
            on.weigh_gradients(upstream)


def dtypes(e: Examination) -> None:
    """Output, gradients and tangents in every other floating-point dtype, against float64."""
    given = {x.dtype.to_real() for x in e.call.leaves()}
    whole = any(x.is_complex() for x in e.call.leaves())  # short complex numbers have hardly an operation
    for dtype in DTYPES[:2] if whole else DTYPES:
        if dtype not in given:
            on = e.on(e.call.to(dtype), str(dtype).removeprefix("torch."))
            if output(on):
                gradients(on)
                if "forward_mode" in e.findings.checks:
                    forward_mode(on)


def special_values(e: Examination) -> None:
    """Output and gradients where one input is at a kink, a tie or zero, or the first holds what is hardly a number.

    Which of NaN and infinity an infinite weight or a scale makes of a sum is an accident of its order.
    """
    leaves = e.call.leaves()
    for i, (name, leaf) in enumerate(zip(e.call.names(), leaves, strict=True)):
        if not leaf.numel():
            continue
        for kind, special in (*_kinks(leaf.detach()), *(_extremes(leaf.detach()) if i == 0 else ())):
            replaced = [special.requires_grad_() if j == i else x for j, x in enumerate(leaves)]
            _once(e.on(e.call.with_leaves(replaced), f"{kind} in {name}"))


def _kinks(x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The tensor with special values throughout."""
    dense = x.contiguous()
    yield "zeros", torch.zeros_like(dense)
    yield "negative zeros", -torch.zeros_like(dense)
    yield "ones", torch.ones_like(dense)
    yield "ties", dense.flatten()[:1].expand(dense.numel()).reshape(dense.shape).clone()
    # Most kinks are at integers or halves.
    halves = as_real(2 * dense).round().div(2)
    yield "halves", torch.view_as_complex(halves) if x.is_complex() else halves
    yield "denormals", dense * (torch.finfo(x.dtype).smallest_normal / 8)


def _extremes(x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The tensor far from zero, where differences of squares cancel; and with one special value, since these spread."""
    yield "an offset", x + OFFSET
    large = torch.finfo(x.dtype).max ** 0.25
    for name, value in (
        ("NaN", float("nan")),
        ("infinity", float("inf")),
        ("minus infinity", float("-inf")),
        ("a large number", large),
        ("a large negative number", -large),
    ):
        one = x.contiguous().clone()
        one.view(-1)[one.numel() // 2] = value
        yield name, one


def strided(e: Examination) -> None:
    """Output and gradients where the inputs are transposed, sliced out of more, or expanded in memory."""
    if e.numerical and e.random:
        return  # the order in which random numbers are drawn may follow the layout
    for kind, arrange in LAYOUTS.items():
        leaves = [arrange(x.detach()).requires_grad_() for x in e.call.leaves()]
        if any(x.dim() and x.numel() for x in leaves):
            _once(e.on(e.call.with_leaves(leaves), f"{kind} inputs"))


def _transposed(x: Tensor) -> Tensor:
    order = tuple(reversed(range(x.dim())))
    return x.permute(order).contiguous().permute(order)


def _sliced(x: Tensor) -> Tensor:
    if not x.dim():
        return x.clone()
    gaps = torch.full((*x.shape[:-1], 2 * x.shape[-1]), float("nan"), dtype=x.dtype, device=x.device)
    gaps[..., ::2] = x
    return gaps[..., ::2]


def _expanded(x: Tensor) -> Tensor:
    return x[:1].clone().expand(x.shape) if x.dim() and x.shape[0] else x.clone()


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": _transposed,
    "sliced": _sliced,
    "expanded": _expanded,
}


def empty(e: Examination) -> None:
    """Output and gradients of no elements, along the first and the last dimension, and of a single number.

    Not of no channels, of which some built-ins make outputs of another shape than they promise.
    """
    first = next((x for x in e.call.inputs if differentiable(x)), None)
    if first is None:
        return
    for dim in sorted({0, first.dim() - 1}) if first.dim() else ():
        _where_taken(e, partial(_without, first, dim), f"empty along dimension {dim}")
    _where_taken(e, lambda x: x.flatten()[0] if x.dim() and x.numel() else x, "zero-dimensional")


def _without(first: Tensor, dim: int, x: Tensor) -> Tensor:
    """A tensor without elements along a dimension of the first input, if it shares it; a vector may be its last."""
    size, last = first.shape[dim], dim == first.dim() - 1
    if x.dim() == 1 and last and x.shape[0] == size:
        return x[:0]
    shares = x.dim() > dim and x.shape[dim] == size and (dim == 0 or x.dim() == first.dim())
    return x.narrow(dim, 0, 0) if shares else x


def _where_taken(e: Examination, change: Callable[[Tensor], Tensor], prefix: str) -> None:
    """Examines the call with other inputs if the built-in takes them."""

    def apply(x: object) -> object:
        if not isinstance(x, Tensor) or x.layout is not torch.strided:
            return x
        return change(x).detach().clone().requires_grad_(x.requires_grad)

    call = Call(mapped(apply, e.call.inputs), e.call.options, e.call.parameters, e.call.buffers, e.call.seed)
    on = e.on(call, prefix)
    try:
        on.recording(on.theirs, call)
    except Exception:  # a call that is none has nothing to be compared
        return
    _once(on)
