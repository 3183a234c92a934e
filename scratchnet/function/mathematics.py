"""Runs what an author wrote: forward with the tensors to be stored, and backward from these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scratchnet.function.precision import AS_GIVEN, Autocast, Precision, outside_autocast, precision_of
from scratchnet.function.recording import plainly, usual

__all__ = ["Mathematics", "Maybe", "differentiate", "evaluate", "has_intermediate"]

Maybe = Tensor | None
Place = int | None


@dataclass(frozen=True)
class Mathematics:
    """The author's methods, and how their arguments are laid out."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    jvp: Callable[..., Any]
    tensors: int
    options: tuple[str, ...]
    auxiliary: int
    autocast: Autocast | None
    native_low_precision: bool
    holomorphic: bool

    def precision(self, inputs: Sequence[Maybe]) -> Precision:
        """The dtypes of a call on these tensors."""
        return precision_of(inputs, self.autocast, self.native_low_precision)

    def split(self, arguments: Sequence[Any]) -> tuple[tuple[Maybe, ...], dict[str, Any]]:
        """Tensors and options of one flat argument list."""
        count = self.tensors
        if len(arguments) != count + len(self.options):
            raise TypeError(
                f"expected {count} tensor(s) and the option(s) {', '.join(self.options) or 'none'}, all by "
                f"position, got {len(arguments)} argument(s)"
            )
        if len(arguments) == count:
            return tuple(arguments), {}
        return tuple(arguments[:count]), dict(zip(self.options, arguments[count:], strict=True))


def evaluate(
    op: Mathematics, inputs: Sequence[Maybe], options: dict[str, Any], precision: Precision
) -> tuple[Any, tuple[Maybe, ...], tuple[Place, ...]]:
    """Runs the author's forward: the rounded output, what to store, and the place each stored tensor has.

    A place is ``i`` for input ``i``, ``-1 - j`` for output ``j``, ``None`` for an intermediate. An auxiliary
    output counts as an intermediate: autograd takes it for a constant, which it is not.
    """
    computed = inputs if precision is AS_GIVEN else [precision.enter(t) for t in inputs]
    forward = op.forward if usual(inputs) else plainly(outside_autocast(op.forward, inputs), inputs)
    output, saved = forward(*computed, **options)
    raw = output if isinstance(output, tuple) else (output,)
    differentiable = raw[: len(raw) - op.auxiliary] if op.auxiliary else raw
    places: list[Place] = []
    for tensor in saved:
        places.append(_place(tensor, computed, differentiable, places))
    rounded = differentiable if precision is AS_GIVEN else tuple(map(precision.leave, differentiable))
    outputs = tuple([_owned(y, (*inputs, *raw[:i])) for i, y in enumerate(rounded)]) + raw[len(rounded) :]
    stored = [
        tensor if place is None else inputs[place] if place >= 0 else outputs[-1 - place]
        for tensor, place in zip(saved, places, strict=True)
    ]
    return (outputs if isinstance(output, tuple) else outputs[0]), tuple(stored), tuple(places)


def _owned(output: Tensor, others: Sequence[Maybe]) -> Tensor:
    """Returns the output as no view, so that it may be changed in place; a copy if it shares memory with another.

    Autograd rejects in-place changes of a view that a custom Function returns. A detached view shares memory and
    version counter with its base, so that a change of what backward needs is still noticed; the compiler, which
    takes a detached view for a view, knows by itself.
    """
    base = output._base
    if base is None:
        for t in others:
            if output is t:
                return output.clone()
        return output
    if any([t is not None and (t is base or t._base is base) for t in others]):
        return output.clone()
    if torch.compiler.is_compiling():
        return torch.ops.aten._unsafe_view(output, output.shape)
    # The graph of a trace has no Function in it, only the operations: there a detached output would have no gradient.
    return output if torch._C._get_tracing_state() is not None else output.detach()


def _place(tensor: Tensor, inputs: Sequence[Maybe], outputs: Sequence[Tensor], taken: Sequence[Place]) -> Place:
    """Where a saved tensor comes from; of a tensor that is passed twice, each copy has a place of its own."""
    for i, candidate in enumerate(inputs):
        if tensor is candidate and i not in taken:
            return i
    for j, candidate in enumerate(outputs):
        if tensor is candidate:
            return -1 - j
    return None


def differentiate(
    op: Mathematics,
    grads: tuple[Maybe, ...],
    saved: Sequence[Maybe],
    needs: Sequence[bool],
    options: dict[str, Any],
    precision: Precision,
    dtypes: Sequence[torch.dtype | None],
) -> tuple[Maybe, ...]:
    """Runs the author's backward, and gives each gradient the dtype of its input.

    Where f is holomorphic, a complex gradient is that of the upstream times the conjugate of f': the conjugate of what
    the author's backward makes of the conjugate upstream. The gradient of a real input is the real part.
    """
    differentiable = grads[: len(grads) - op.auxiliary] if op.auxiliary else grads
    if differentiable[0] is None and all(grad is None for grad in differentiable):
        return (None,) * len(needs)
    entered = differentiable if precision is AS_GIVEN else tuple(map(precision.enter, differentiable))
    backward, tensors, conjugate = op.backward, (*entered, *saved), False
    if not usual(tensors):
        # A compiled backward runs outside of the forward's autocast anyway, and Dynamo must not leave it in there.
        compiling = torch.compiler.is_compiling()
        backward = plainly(backward if compiling else outside_autocast(backward, entered), tensors)
        conjugate = op.holomorphic and any(d is not None and d.is_complex for d in dtypes)
    if conjugate:
        entered = tuple(map(_conjugate, entered))
    result = backward(entered if len(entered) > 1 else entered[0], saved, needs, **options)
    gradients = result if isinstance(result, tuple) else (result,)
    if conjugate:
        gradients = tuple(map(_conjugate, gradients))
    return tuple(
        [
            None
            if gradient is None or not need
            else gradient
            if gradient.dtype is dtype
            else _cast(gradient, dtype)
            for gradient, need, dtype in zip(gradients, needs, dtypes, strict=True)
        ]
    )


def _conjugate(tensor: Maybe) -> Maybe:
    return None if tensor is None else tensor.conj()


def _cast(gradient: Tensor, dtype: torch.dtype | None) -> Tensor:
    real = gradient.is_complex() and not (dtype is None or dtype.is_complex)
    return (gradient.real if real else gradient).to(dtype)


def has_intermediate(saved: Sequence[Maybe], places: Sequence[Place]) -> bool:
    """Whether a stored tensor is neither input nor output, and has a derivative that autograd cannot see."""
    return any(
        place is None and tensor is not None and (tensor.is_floating_point() or tensor.is_complex())
        for tensor, place in zip(saved, places, strict=True)
    )
