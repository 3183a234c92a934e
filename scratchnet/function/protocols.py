"""The two ways in which torch asks a Function for its methods, made of what an author wrote."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from scratchnet.function.mathematics import Mathematics, Maybe, differentiate, evaluate, has_intermediate
from scratchnet.function.precision import AS_GIVEN
from scratchnet.function.recording import transformed

__all__ = ["recording", "tracing"]


def recording(op: Mathematics, overwriting: bool = False) -> dict[str, Any]:
    """Torch's older protocol, whose ``ctx`` comes first and which costs least.

    Overwriting, an op that keeps its output alone has it in the memory of its first input.
    """
    tensors, option_count = op.tensors, len(op.options)

    def forward(ctx: Any, *arguments: Any) -> Any:
        inputs, options = op.split(arguments)
        precision = op.precision(inputs)
        output, stored, places = evaluate(op, inputs, options, precision)
        if overwriting:
            output = arguments[0].copy_(output)
            ctx.mark_dirty(output)
            stored = (output,)
        ctx.save_for_backward(*stored)
        if not isinstance(output, tuple) or len(output) - op.auxiliary == 1:
            ctx.set_materialize_grads(False)
        dtypes = tuple([None if t is None else t.dtype for t in inputs])
        ctx.call = places, options, precision, dtypes
        if op.auxiliary:
            ctx.mark_non_differentiable(*output[-op.auxiliary :])
        return output

    # Where no gradient is recorded, torch.compile counts the parameters to tell whether there is a ctx among them.
    names = ("ctx", *(f"argument_{i}" for i in range(tensors + option_count)))
    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in names]
    # What `inspect.signature` reads; functions have no such attribute in their type.
    forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]

    def backward(ctx: Any, *grads: Maybe) -> Any:
        saved = ctx.saved_tensors
        places, given, precision, dtypes = ctx.call
        if not torch.compiler.is_compiling() and torch.is_grad_enabled() and has_intermediate(saved, places):
            known: list[Maybe] = [None] * tensors
            for tensor, place in zip(saved, places, strict=True):
                if place is not None and place >= 0:
                    known[place] = tensor
            fresh = evaluate(op, known, given, precision)[1]
            saved = [f if place is None else s for f, s, place in zip(fresh, saved, places, strict=True)]
        if precision is not AS_GIVEN:
            saved = [precision.enter(tensor) for tensor in saved]
        needs = ctx.needs_input_grad[:tensors]
        if torch.compiler.is_compiling() and transformed():
            # The compiler reads the inputs' `requires_grad`, which a transform does not set.
            needs = tuple([d is not None and (d.is_floating_point or d.is_complex) for d in dtypes])
        return differentiate(op, grads, saved, needs, given, precision, dtypes) + (None,) * option_count

    return {"forward": staticmethod(forward), "backward": staticmethod(backward)}


def tracing(op: Mathematics) -> dict[str, Any]:
    """Torch's ``setup_context`` protocol: stores inputs and outputs alone, and computes the rest again."""
    tensors, option_count = op.tensors, len(op.options)

    def forward(*arguments: Any) -> Any:
        inputs, options = op.split(arguments)
        output = evaluate(op, inputs, options, op.precision(inputs))[0]
        return tuple(map(_owned, output)) if isinstance(output, tuple) else _owned(output)

    def setup_context(ctx: Any, arguments: tuple[Any, ...], output: Any) -> None:
        inputs, ctx.options = op.split(arguments)
        outputs = output if isinstance(output, tuple) else (output,)
        ctx.precision = op.precision(inputs)
        ctx.dtypes = tuple(None if t is None else t.dtype for t in inputs)
        ctx.save_for_backward(*inputs, *outputs)
        ctx.save_for_forward(*inputs, *outputs)
        if op.auxiliary:
            ctx.mark_non_differentiable(*outputs[-op.auxiliary :])

    def recall(ctx: Any, see: Callable[[Maybe], Maybe] = lambda tensor: tensor) -> list[Maybe]:
        stored = [see(tensor) for tensor in ctx.saved_tensors]
        inputs, outputs = stored[:tensors], stored[tensors:]
        _, fresh, places = evaluate(op, inputs, ctx.options, ctx.precision)
        saved = [
            f if place is None or place >= 0 else outputs[-1 - place]
            for f, place in zip(fresh, places, strict=True)
        ]
        return [ctx.precision.enter(tensor) for tensor in saved]

    def backward(ctx: Any, *grads: Maybe) -> Any:
        needs = ctx.needs_input_grad[:tensors]
        gradients = differentiate(op, grads, recall(ctx), needs, ctx.options, ctx.precision, ctx.dtypes)
        return gradients + (None,) * option_count

    def jvp(ctx: Any, *tangents: Maybe) -> Any:
        # Torch turns forward mode off in here, and an outer level would take the tangent for a constant.
        with forward_ad._set_fwd_grad_enabled(True):
            entered = [ctx.precision.enter(tangent) for tangent in tangents[:tensors]]
            result = op.jvp(entered, recall(ctx, _primal), **ctx.options)
            if not op.auxiliary and not isinstance(result, tuple):
                return ctx.precision.leave(result)
            results = result if isinstance(result, tuple) else (result,)
            return (*map(ctx.precision.leave, results), *(None,) * op.auxiliary)

    protocol = {"forward": forward, "setup_context": setup_context, "backward": backward, "jvp": jvp}
    return {"generate_vmap_rule": True, **{name: staticmethod(f) for name, f in protocol.items()}}


def _owned(output: Tensor) -> Tensor:
    """The output in memory of its own: of a view, forward mode demands a tangent of the same strides."""
    return output.clone() if output._is_view() else output


def _primal(tensor: Maybe) -> Maybe:
    """The tensor without its tangent of the innermost forward-mode level; those of outer levels stay."""
    return None if tensor is None else forward_ad.unpack_dual(tensor).primal
