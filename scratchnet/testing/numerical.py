"""A stand-in for the built-in that a function without one is held against: the same values, derived numerically."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from scratchnet.testing import differences
from scratchnet.testing.pullback import vjp
from scratchnet.testing.quantities import own_constants
from scratchnet.testing.subject import Call, Subject, as_real, continuous, differentiable, mapped

__all__ = ["NumericalSubject"]

Run = Callable[[Sequence[Tensor]], tuple[Tensor, ...]]


class NumericalSubject(Subject):
    """A function with the derivatives that differences of its values give.

    First derivatives are differences of values, or complex steps where it takes complex numbers; second ones are
    differences of the first, as the function itself gives them. It is called on dense copies of its inputs.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self.known: dict[tuple[bytes, ...], tuple[list[Tensor], bool]] = {}

    @property
    def exact(self) -> bool:
        """Whether all derivatives so far are those of complex steps."""
        return bool(self.known) and all(sharp for _, sharp in self.known.values())

    def _call(self, call: Call) -> Any:
        given = [x for x in call.tensors() if _moves(x)]
        # What is not differentiated may be written to: running statistics are.
        at = [as_real(x if differentiable(x) else x.clone()) for x in given]
        frozen = own_constants(call)
        plain = Subject(self.function)

        def run(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
            replaced = _replaced(
                own_constants(frozen), [x.detach().clone(memory_format=torch.contiguous_format) for x in tensors]
            )
            with torch.no_grad():
                found = tuple(y for y in plain.run(replaced) if continuous(y))
            # Complex steps make all of them complex.
            return found if any(x.is_complex() for x in tensors) else tuple(map(as_real, found))

        def pull(tensors: Sequence[Tensor], grads: Sequence[Tensor]) -> tuple[Tensor, ...]:
            """The gradients as the function itself gives them."""

            def outputs(*tensors: Tensor) -> tuple[Tensor, ...]:
                found = plain.run(_replaced(own_constants(frozen), tensors))
                return tuple(as_real(y) for y in found if continuous(y))

            return vjp(outputs, *tensors)[1](tuple(grads))

        dense = [
            a.detach().contiguous().clone() if differentiable(x) else a
            for x, a in zip(given, map(as_real, given), strict=True)
        ]
        outputs = super()._call(_replaced(call, dense))
        derived = iter(_Derived.apply(self, run, pull, *at))

        def with_slope(y: Any) -> Any:
            if not continuous(y):
                return y
            return torch.view_as_complex(next(derived)) if y.is_complex() else next(derived)

        return mapped(with_slope, outputs)

    def jacobian(self, run: Run, at: Sequence[Tensor]) -> list[Tensor]:
        """The derivatives of all outputs, remembered."""
        key = tuple(bytes(x.detach().cpu().flatten().contiguous().view(torch.uint8).tolist()) for x in at)
        if key not in self.known:
            dense = [x.detach().contiguous().clone() for x in at]
            found = differences.jacobian(_flat(run), dense)
            sharp = differences.complex_step(_flat(run), dense, found)
            self.known[key] = sharp or found, sharp is not None
        return self.known[key][0]


class _Derived(torch.autograd.Function):
    """The function's values, with its Jacobian by differences."""

    @staticmethod
    def forward(subject: NumericalSubject, run: Run, pull: Any, *at: Tensor) -> tuple[Tensor, ...]:
        return run(at)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.subject, ctx.run, ctx.pull, *at = inputs
        ctx.save_for_backward(*at)
        ctx.save_for_forward(*at)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        at = ctx.saved_tensors
        if torch.is_grad_enabled():
            return None, None, None, *_Gradient.apply(ctx.pull, len(at), *at, *grads)
        upstream = torch.cat([g.reshape(-1) for g in grads])
        slopes = ctx.subject.jacobian(ctx.run, at)
        return None, None, None, *((upstream @ j).view(x.shape) for x, j in zip(at, slopes, strict=True))

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        at = ctx.saved_tensors
        return _unflat(*_along(ctx.run, at, tangents[3:]))


class _Gradient(torch.autograd.Function):
    """The function's own gradient, whose derivatives are differences."""

    @staticmethod
    def forward(pull: Any, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        return pull(tensors[:count], tensors[count:])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.pull, ctx.count, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        tensors = ctx.saved_tensors
        upstream = torch.cat([g.reshape(-1) for g in grads])
        slopes = differences.jacobian(_flat(lambda at: ctx.pull(at[: ctx.count], at[ctx.count :])), tensors)
        return None, None, *((upstream @ j).view(x.shape) for x, j in zip(tensors, slopes, strict=True))

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        tensors = ctx.saved_tensors
        return _unflat(*_along(lambda at: ctx.pull(at[: ctx.count], at[ctx.count :]), tensors, tangents[2:]))


def _moves(x: Any) -> bool:
    """Whether an argument can be moved by a step: a dense tensor of real or complex numbers."""
    return continuous(x) and x.layout is torch.strided


def _replaced(call: Call, tensors: Sequence[Tensor]) -> Call:
    """The call with other tensors in place of all real ones, and pairs of parts in place of all complex ones."""
    rest = iter(tensors)

    def swap(x: Any) -> Any:
        if not _moves(x):
            return x
        return torch.view_as_complex(next(rest)) if x.is_complex() else next(rest)

    inputs = mapped(swap, call.inputs)
    options = {name: mapped(swap, x) for name, x in call.options.items()}
    return Call(inputs, options, {name: swap(x) for name, x in call.parameters.items()}, call.buffers, call.seed)


def _flat(run: Run) -> differences.Function:
    return lambda at: torch.cat([y.reshape(-1) for y in run(at)])


def _along(run: Run, at: Sequence[Tensor], tangents: Sequence[Tensor | None]) -> tuple[Tensor, tuple[Tensor, ...]]:
    direction = [torch.zeros_like(x) if t is None else t for x, t in zip(at, tangents, strict=True)]
    return differences.slope_along(_flat(run), at, direction), run(at)


def _unflat(flat: Tensor, like: Sequence[Tensor]) -> tuple[Tensor, ...]:
    parts = flat.split([y.numel() for y in like])
    return tuple(part.view(y.shape) for part, y in zip(parts, like, strict=True))
