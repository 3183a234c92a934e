"""Holds a custom function or module against the built-in that it must equal."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from scratchnet.testing import quantities
from scratchnet.testing.board import Board
from scratchnet.testing.comparison import Comparison, Row
from scratchnet.testing.quantities import Quantities
from scratchnet.testing.subject import Call, Subject, differentiable

__all__ = ["compare"]


def compare(
    custom: Callable[..., Any],
    builtin: Callable[..., Any],
    *inputs: Any,
    double_backward: bool = True,
    forward_mode: bool = True,
    vmap: bool = True,
    compile: bool | str = False,
    composite: bool = False,
    seed: int = 0,
    name: str | None = None,
    **options: Any,
) -> Comparison:
    """Compares a custom function with the built-in (or a composition of tensor operations) it should equal.

    Compared are the output, the gradient of each input and parameter under random and hostile upstreams, double
    backward, forward mode and vmap; and that inputs and upstreams are left as they were. Gradients are taken of
    the floating-point inputs that require grad, or of all of them where none does. What the built-in cannot do
    is reported as not compared.

    Args:
        custom: the function or module under test.
        builtin: what it must equal. Of two modules both are called with the built-in's parameters and buffers,
            which must have the same names and shapes; neither module is changed.
        *inputs: positional arguments of both.
        double_backward: compare the gradients of the gradients.
        forward_mode: compare tangents.
        vmap: compare a batch of two calls under `torch.func.vmap`, forward and backward.
        compile: compare with the custom function under ``torch.compile(fullgraph=True)``; a string names the
            backend.
        composite: whether the function is composed of several ops, so that in the short dtypes their roundings add up.
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
        >>> import torch.nn.functional as F
        >>> x = torch.linspace(-1, 1, 6, dtype=torch.float64)
        >>> compare(lambda x: x.clamp(min=0), F.relu, x).ok
        True
        >>> print(compare(lambda x: x * (x > 0.5), F.relu, x, name="late relu").failures[0].quantity)
        output
    """
    with warnings.catch_warnings():
        # Each side is called dozens of times, and says each time what the user's own call says once.
        warnings.simplefilter("ignore")
        call = _call(custom, builtin, inputs, options, seed)
        rows = _examine(
            call, Subject(custom), Subject(builtin), double_backward, forward_mode, vmap, compile, composite
        )
    return Comparison(name or _name(custom), rows)


def _examine(
    call: Call,
    ours: Subject,
    theirs: Subject,
    double_backward: bool,
    forward_mode: bool,
    vmap: bool,
    compile: bool | str,
    composite: bool,
) -> tuple[Row, ...]:
    truth = call.to(torch.float64) if _short(call) else None
    board = Board(composite)

    if not board.weigh(ours, theirs, quantities.forward, call, truth, "output"):
        return board.rows()
    board.unchanged(
        "inputs unchanged", [*call.inputs, *call.parameters.values()], lambda: quantities.forward(ours, call)
    )
    if vmap and theirs.draws(quantities.fresh(call)):
        vmap = False
        board.add("vmap", "not compared", "random numbers come in no specified order under vmap")
    for kind, upstream in quantities.choose_upstreams(theirs, call):
        wide = None if truth is None else [None if u is None else u.double() for u in upstream]

        def given(
            make: Callable[..., Quantities], upstream: list[Tensor | None] = upstream, wide: Any = wide
        ) -> Callable[[Subject, Call], Quantities]:
            return lambda subject, at: make(subject, at, wide if at is truth else upstream)

        board.weigh(ours, theirs, given(quantities.backward), call, truth, "gradient", kind)
        board.unchanged(
            "inputs and upstreams unchanged",
            [*call.inputs, *call.parameters.values(), *upstream],
            partial(quantities.backward, ours, call, upstream),
            kind,
        )
        if double_backward:
            board.weigh(ours, theirs, given(quantities.double_backward), call, truth, "double backward", kind)
        if vmap and kind in ("random", "expanded"):
            board.weigh(ours, theirs, _vmapped(given, theirs), call, truth, "vmap", kind)
        if compile and kind in ("random", "expanded"):
            backend = compile if isinstance(compile, str) else "inductor"
            plain = _both_compiled(given, backend, theirs)
            board.weigh(ours, theirs, plain, call, truth, "compiled", kind)
    if forward_mode and call.leaves():
        board.weigh(ours, theirs, quantities.forward_mode, call, truth, "forward mode")
    return board.rows()


def _vmapped(given: Callable[..., Any], theirs: Subject) -> Callable[[Subject, Call], Quantities]:
    """The built-in must be able to do it, but what counts is its loop: some of its vmap rules differ from it."""

    def make(subject: Subject, at: Call) -> Quantities:
        found = given(quantities.over_batches)(subject, at)
        if subject is not theirs:
            return found
        return given(partial(quantities.over_batches, loop=True))(subject, at)

    return make


def _both_compiled(
    given: Callable[..., Any], backend: str, theirs: Subject
) -> Callable[[Subject, Call], Quantities]:
    """Compiles the custom side alone: the built-in's eager result is what compiled code must equal."""

    def make(subject: Subject, at: Call) -> Quantities:
        return given(partial(quantities.compiled, backend=None if subject is theirs else backend))(subject, at)

    return make


def _call(
    custom: Callable[..., Any],
    builtin: Callable[..., Any],
    inputs: tuple[Any, ...],
    options: dict[str, Any],
    seed: int,
) -> Call:
    parameters, buffers = _state(custom, builtin)
    given = [x for x in (*inputs, *options.values()) if isinstance(x, Tensor)]
    if not any(differentiable(x) for x in given):

        def enable(x: Any) -> Any:
            floating = isinstance(x, Tensor) and x.is_floating_point()
            return x.detach().requires_grad_() if floating else x

        inputs = tuple(map(enable, inputs))
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


def _short(call: Call) -> bool:
    """Whether the call computes in less than float64, so that float64 can tell the truth."""
    return any(x.dtype is not torch.float64 for x in call.leaves())


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
