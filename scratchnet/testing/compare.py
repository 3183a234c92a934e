"""Holds a custom function or module against the built-in that it must equal."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from scratchnet.testing.board import Board
from scratchnet.testing.checks import ALWAYS, CHECKS, DEFAULT
from scratchnet.testing.comparison import Comparison, Row
from scratchnet.testing.examination import Examination
from scratchnet.testing.subject import Call, Subject, differentiable, mapped
from scratchnet.testing.tolerances import UNITS

__all__ = ["call_of", "chosen", "compare", "examine", "name_of"]


def compare(
    custom: Callable[..., Any],
    builtin: Callable[..., Any],
    *inputs: Any,
    thorough: bool = False,
    no_grad: bool | None = None,
    each_alone: bool | None = None,
    double_backward: bool | None = None,
    third_derivative: bool | None = None,
    forward_mode: bool | None = None,
    forward_over_reverse: bool | None = None,
    vmap: bool | None = None,
    vmap_each: bool | None = None,
    compile: bool | str | None = None,
    autocast: bool | None = None,
    dtypes: bool | None = None,
    special_values: bool | None = None,
    empty: bool | None = None,
    strided: bool | None = None,
    saved_unchanged: bool | None = None,
    fresh_memory: bool | None = None,
    deterministic: bool | None = None,
    threads: bool | None = None,
    memory: bool | None = None,
    leaks: bool | None = None,
    roundings: int = UNITS,
    seed: int = 0,
    name: str | None = None,
    **options: Any,
) -> Comparison:
    """Compares a custom function with the built-in (or a composition of tensor operations) it should equal.

    Compared are always the output and the gradient of each input and parameter under random and hostile
    upstreams, and that inputs and upstreams are left as they were; by default also double backward, forward mode
    and vmap; and whatever else is asked for. Gradients are taken of the floating-point inputs that require grad,
    or of all of them where none does. What the built-in cannot do is reported as not compared.

    Args:
        custom: the function or module under test.
        builtin: what it must equal. Of two modules both are called with the built-in's parameters and buffers,
            which must have the same names and shapes; neither module is changed.
        *inputs: positional arguments of both: tensors, tuples of tensors, and others.
        thorough: everything below that is not turned off; by default only what says so.
        no_grad: the output where no gradient is recorded (on by default).
        each_alone: the gradient of each input where no other needs one.
        double_backward: the gradients of the gradients (on by default).
        third_derivative: that the double backward stays differentiable, and what of.
        forward_mode: tangents (on by default).
        forward_over_reverse: the tangents of the gradients.
        vmap: a batch of two calls under `torch.func.vmap`, forward and backward (on by default).
        vmap_each: a batch in which only one input differs, for each input in turn.
        compile: the custom function under ``torch.compile(fullgraph=True)``; a string names the backend.
        autocast: the float32 call under `torch.autocast` to bfloat16, dtypes included.
        dtypes: every other dtype, against float64: at most twice the built-in's own error.
        special_values: NaN, infinities, zeros, denormals, kinks and ties in place of the values given.
        empty: no elements along each dimension, and zero-dimensional input, where the built-in takes them.
        strided: inputs that are transposed, sliced or expanded in memory.
        saved_unchanged: that the backward leaves the saved tensors alone, so that it can run again.
        fresh_memory: that nothing of a fresh buffer stays unwritten: `torch.empty` gives NaN meanwhile.
        deterministic: that the same call gives the same bits each time.
        threads: that two calls do not disturb each other, one after the other or in two threads at once.
        memory: counts the bytes kept for the backward pass, by both sides.
        leaks: that nothing stays alive once a call and its backward are over.
        roundings: units in the last place that the function's own chain of roundings may add in short dtypes: 1 for
            an op, more for a recurrence or a network of several ops.
        seed: of the upstreams, the tangents, and of the random numbers that both functions draw.
        name: heads the table; by default the custom function's name.
        **options: keyword arguments of both.

    Returns:
        A `Comparison`: ``.ok``, ``.rows``, ``.failures``, and a table as its ``str()``.

    Raises:
        ValueError: if the parameters of two modules do not match, or one side is a module with parameters and
            the other is none.
        TypeError: if the built-in returns something else than tensors.

    Example:
        >>> import torch, torch.nn.functional as F
        >>> x = torch.linspace(-1, 1, 6, dtype=torch.float64)
        >>> compare(lambda x: x.clamp(min=0), F.relu, x).ok
        True
        >>> print(compare(lambda x: x * (x > 0.5), F.relu, x, name="late relu").failures[0].quantity)
        output
    """
    asked = {key: value for key, value in locals().items() if key in CHECKS}
    call = call_of(custom, builtin, inputs, options, seed)
    backend = compile if isinstance(compile, str) else "aot_eager" if compile is None else "inductor"
    e = Examination(Subject(custom), Subject(builtin), call, Board(roundings), backend)
    rows = examine(e, chosen(asked, thorough))
    return Comparison(name or name_of(custom), rows, e.board.saved)


def chosen(asked: dict[str, Any], thorough: bool) -> list[str]:
    """The checks to run: those asked for, and of the others all or the usual ones."""
    usual = CHECKS if thorough else DEFAULT
    return [
        name for name in CHECKS if name in ALWAYS or (name in usual if asked.get(name) is None else asked[name])
    ]


def examine(e: Examination, checks: Iterable[str]) -> tuple[Row, ...]:
    """Runs checks on a call; without an output of both sides the others are left out."""
    with warnings.catch_warnings():
        # Each side is called dozens of times, and says each time what the user's own call says once.
        warnings.simplefilter("ignore")
        for name in checks:
            e.board.check = name
            if CHECKS[name](e) is False:
                break
    return e.board.rows()


def call_of(
    custom: Callable[..., Any],
    builtin: Callable[..., Any],
    inputs: tuple[Any, ...],
    options: dict[str, Any],
    seed: int,
) -> Call:
    """The call that both sides get: with the built-in's state, and differentiable if nothing in it is."""
    parameters, buffers = _state(custom, builtin)
    if not any(differentiable(x) for x in Call(inputs, options).tensors()):

        def enable(x: Any) -> Any:
            floating = isinstance(x, Tensor) and x.is_floating_point()
            return x.detach().requires_grad_() if floating else x

        inputs = mapped(enable, inputs)
    return Call(inputs, options, parameters, buffers, seed)


def _state(custom: Callable[..., Any], builtin: Callable[..., Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    sides: list[dict[str, Tensor]] = [
        dict(f.named_parameters()) if isinstance(f, nn.Module) else {} for f in (custom, builtin)
    ]
    shapes = [{name: tuple(p.shape) for name, p in side.items()} for side in sides]
    if shapes[0] != shapes[1]:
        odd = sorted(set(shapes[0].items()) ^ set(shapes[1].items()))
        raise ValueError(
            f"compare: expected custom and built-in to have the same parameters, got {shapes[0]} and "
            f"{shapes[1]}, which differ in {odd}; build both with the same sizes"
        )
    buffers = dict(builtin.named_buffers()) if isinstance(builtin, nn.Module) else {}
    return sides[1], buffers


def name_of(function: Callable[..., Any]) -> str:
    """A function's name, or its class's."""
    return getattr(function, "__name__", type(function).__name__)
