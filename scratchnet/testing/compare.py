"""Holds a custom function or module against the built-in that it must equal."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from scratchnet.testing.checks import ALWAYS, CHECKS, DEFAULT
from scratchnet.testing.comparison import Comparison, Row
from scratchnet.testing.examination import Examination, summary
from scratchnet.testing.findings import Findings
from scratchnet.testing.quantities import Recording
from scratchnet.testing.subject import Call, Subject, SubjectOfTwo, continuous, differentiable, mapped
from scratchnet.testing.tolerances import UNITS, by_hand
from scratchnet.testing.upstreams import chosen_kinds

__all__ = ["call_of", "chosen", "compare", "examine", "name_of", "present", "required"]


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
    opcheck: bool | None = None,
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
    rtol: float | Mapping[torch.dtype, float] | None = None,
    atol: float | Mapping[torch.dtype, float] | None = None,
    device: torch.device | str | None = None,
    map: Mapping[str, str] | None = None,
    gradient_of: Callable[..., Any] | None = None,
    order: int | None = None,
    modes: Sequence[str] | None = None,
    upstreams: Sequence[str] | None = None,
    seed: int = 0,
    name: str | None = None,
    **options: Any,
) -> Comparison:
    """Compares a custom function with the built-in (or a composition of tensor operations) it should equal.

    Compared are always the output and the gradient of each input and parameter under random and hostile
    upstreams, and that inputs and upstreams are left as they were; by default also double backward, forward mode
    and vmap; and whatever else is asked for. Gradients are taken of the inputs that require grad, or, where none
    does, of all dense real and complex ones, by position and by keyword. What the built-in cannot do is reported as not
    compared. What the custom function lacks the methods for, such as ``jvp``, is reported as not offered, and is a
    failure only if it was asked for: ``forward_mode=True``.

    Args:
        custom: the function or module under test.
        builtin: what it must equal. Of two modules both are called with the built-in's parameters and buffers,
            which must have the same names, or those of ``map``, and shapes; neither module is changed.
        *inputs: positional arguments of both: tensors, containers of tensors (tuples, lists, dicts, dataclasses),
            and others.
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
        opcheck: the tests of `torch.library.opcheck`, of the custom operators that it is or calls (on by default).
        autocast: the float32 call under `torch.autocast` to bfloat16, dtypes included.
        dtypes: every other dtype, against float64: at most twice the built-in's own error.
        special_values: NaN, infinities, zeros, denormals, kinks and ties in place of the values given. What
            differs by convention is a failure only if this is asked for, as with ``empty``.
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
        rtol: with ``atol``, in place of the rules of `scratchnet.testing.tolerances`: a number, or numbers by dtype.
        atol: likewise: |got - expected| ≤ atol + rtol · |expected|, as in `torch.testing.assert_close`.
        device: where both are called: inputs, parameters and buffers are copied there.
        map: the built-in's names of parameters by the custom module's, such as ``{"w": "weight"}``.
        gradient_of: whose gradients the custom function is meant to have, where these are not the built-in's: a
            straight-through estimator rounds, and passes gradients as if it did not.
        order: 1 for first derivatives alone, 2 to ask for second ones and for none of the third order.
        modes: ``"reverse"``, ``"forward"`` or both: asks for these derivatives, and leaves the others out.
        upstreams: kinds of upstream gradients: ``random``, ``one-hot``, ``constant``, ``expanded``, ``sliced``,
            ``transposed``, ``channels_last``; all by default.
        seed: of the upstreams, the tangents, and of the random numbers that both functions draw.
        name: heads the table; by default the custom function's name.
        **options: keyword arguments of both.

    Returns:
        A `Comparison`: ``.ok``, ``.rows``, ``.failures``, and a table as its ``str()``.

    Raises:
        ValueError: if the parameters of two modules do not match, or one side is a module with parameters and
            the other is none; if ``order``, ``modes``, ``upstreams``, ``rtol``, ``atol`` or ``device`` are none of
            those above.
        TypeError: if the built-in returns something else than tensors, numbers and containers of these.

    Example:
        >>> import torch, torch.nn.functional as F
        >>> x = torch.linspace(-1, 1, 6, dtype=torch.float64)
        >>> compare(lambda x: x.clamp(min=0), F.relu, x).ok
        True
        >>> print(compare(lambda x: x * (x > 0.5), F.relu, x, name="late relu").failures[0].quantity)
        output
    """
    given = {key: value for key, value in locals().items() if key in CHECKS}
    asked = given | {key: on for key, on in derivatives(order, modes).items() if given.get(key) is None}
    call = call_of(custom, builtin, inputs, options, seed, map or {}, device)
    backend = compile if isinstance(compile, str) else "aot_eager" if compile is None else "inductor"
    kinds = chosen_kinds(upstreams)
    findings = Findings(roundings, chosen(asked, thorough), required(asked), by_hand(rtol, atol), kinds)
    ours = Subject(custom, {b: a for a, b in (map or {}).items()})
    theirs = Subject(builtin) if gradient_of is None else SubjectOfTwo(builtin, gradient_of)
    e = Examination(ours, theirs, call, findings, backend)
    return Comparison(name or name_of(custom), examine(e), findings.saved)


def derivatives(order: int | None, modes: Sequence[str] | None) -> dict[str, bool]:
    """The checks that an order and modes of differentiation turn on or off."""
    if order not in (None, 1, 2):
        raise ValueError(f"compare: expected order 1 or 2, got {order}; third_derivative=True asks for the third")
    if modes is not None and (not modes or not set(modes) <= {"reverse", "forward"} or isinstance(modes, str)):
        raise ValueError(
            f"compare: expected modes of 'reverse' and 'forward', such as ('reverse',), got {modes!r}"
        )
    asked: dict[str, bool] = {}
    if order is not None:
        asked |= {"double_backward": order == 2, "forward_over_reverse": False, "third_derivative": False}
    if modes is not None:
        reverse, forward = "reverse" in modes, "forward" in modes
        asked["forward_mode"] = forward
        asked["forward_over_reverse"] = order == 2 and forward
        asked["gradients"] = reverse
        if not reverse:
            asked["double_backward"] = False
    return asked


def chosen(asked: dict[str, Any], thorough: bool) -> list[str]:
    """The checks to run: those asked for, and of the others all or the usual ones."""
    usual = CHECKS if thorough else DEFAULT
    return [name for name in CHECKS if (name in (*ALWAYS, *usual) if asked.get(name) is None else asked[name])]


def required(asked: dict[str, Any]) -> set[str]:
    """The checks that were asked for by keyword, which a function must offer."""
    return {name for name, value in asked.items() if value}


def examine(e: Examination) -> tuple[Row, ...]:
    """Runs the checks on a call; without an output of both sides the others are left out."""
    with warnings.catch_warnings():
        # Each side is called dozens of times, and says each time what the user's own call says once.
        warnings.simplefilter("ignore")
        for name in e.findings.checks:
            e.findings.check = name
            try:
                if CHECKS[name](e) is False:
                    break
            except Exception as error:  # a check that calls the function may meet what the gradients met
                e.findings.add(e.prefix + name.replace("_", " "), "raises", summary(error), examination=e)
    return e.findings.rows()


def call_of(
    custom: Callable[..., Any],
    builtin: Callable[..., Any],
    inputs: tuple[Any, ...],
    options: dict[str, Any],
    seed: int,
    names: Mapping[str, str] | None = None,
    device: torch.device | str | None = None,
) -> Call:
    """The call that both sides get: with the built-in's state, and differentiable if nothing in it is."""
    parameters, buffers = _state(custom, builtin, names or {})
    if device is not None:
        moved = Call(inputs, options, parameters, buffers).to(device=present(device))
        inputs, options, parameters, buffers = moved.inputs, moved.options, moved.parameters, moved.buffers
    if not any(differentiable(x) for x in Call(inputs, options).tensors()):

        def enable(x: Any) -> Any:
            return x.detach().requires_grad_() if continuous(x) and x.layout is torch.strided else x

        inputs = mapped(enable, inputs)
        for name, constant in list(options.items()):
            enabled = {**options, name: mapped(enable, constant)}
            if any(map(continuous, Call((), {name: constant}).tensors())) and _differentiates(
                builtin, Call(inputs, enabled, parameters, buffers, seed), name
            ):
                options = enabled
    return Call(inputs, options, parameters, buffers, seed)


def present(device: torch.device | str) -> torch.device:
    """The device, with its index.

    Raises:
        ValueError: if this machine has none of the name.
    """
    try:
        if (found := torch.empty(0, device=device).device).type == "meta":
            raise RuntimeError("its tensors hold no values")
        return found
    except (RuntimeError, AssertionError) as error:  # what torch says of a device that it was not built with
        said = str(error).splitlines()[0]
        raise ValueError(
            f"compare: expected a device of this machine, such as 'cpu', got {device!r}: {said}"
        ) from None


def _differentiates(function: Callable[..., Any], call: Call, name: str) -> bool:
    """Whether a function has a gradient for a keyword argument; the class weights of a loss, say, are constants."""
    try:
        recording = Recording(Subject(function), call)
        found = recording.gradients([torch.ones_like(y) for y in recording.outputs])
        return any(g is not None for key, g in found.items() if key.startswith(f"gradient of {name}"))
    except Exception:  # whatever it raises says that it takes no gradient there
        return False


def _state(
    custom: Callable[..., Any], builtin: Callable[..., Any], names: Mapping[str, str]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    sides: list[dict[str, Tensor]] = [
        dict(f.named_parameters()) if isinstance(f, nn.Module) else {} for f in (custom, builtin)
    ]
    sides[0] = {names.get(name, name): p for name, p in sides[0].items()}
    shapes = [{name: tuple(p.shape) for name, p in side.items()} for side in sides]
    if shapes[0] != shapes[1]:
        odd = sorted(set(shapes[0].items()) ^ set(shapes[1].items()))
        raise ValueError(
            f"compare: expected custom and built-in to have the same parameters, got {shapes[0]} and "
            f"{shapes[1]}, which differ in {odd}; build both with the same sizes, and map parameters of "
            "other names by map={custom: built-in}"
        )
    buffers = dict(builtin.named_buffers()) if isinstance(builtin, nn.Module) else {}
    return sides[1], buffers


def name_of(function: Callable[..., Any]) -> str:
    """A function's name, or its class's; that of the Function of an ``apply``."""
    owner = getattr(function, "__self__", None)
    named = owner if isinstance(owner, type) and issubclass(owner, torch.autograd.Function) else function
    return getattr(named, "__name__", None) or str(getattr(named, "_qualname", type(function).__name__))
