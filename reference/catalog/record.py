"""What the catalog says of an op, and how its sample inputs are made."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from scratchnet.testing.subject import Call, Subject
from scratchnet.testing.tolerances import UNITS

__all__ = ["DTYPES", "BadInput", "Beyond", "Make", "Record", "Sample", "leaf", "rounded_once"]

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Sample:
    """One call: positional arguments and keyword options, for the custom and the built-in op alike.

    ``smooth`` is false where finite differences tell nothing: at kinks, ties and infinities, or nothing that smaller
    samples do not. In a record of modules ``arguments`` are those of the constructor.
    """

    inputs: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    smooth: bool = True
    arguments: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [_shown(x) for x in self.inputs]
        parts += [f"{k}={_shown(v)}" for k, v in (*self.options.items(), *self.arguments.items())]
        return ", ".join(parts)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))})"
    return str(tuple(value.shape)) if isinstance(value, Tensor) else repr(value)


@dataclass(frozen=True)
class BadInput:
    """A call that must fail: the arguments, the error's type, and words that its message must hold.

    In a record of modules it is the constructor, called with ``arguments``, or the call after it, that must. The type
    is the one that PyTorch raises, which for a dtype or an option that its kernels do not have is NotImplementedError.
    """

    call: Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]
    error: type[Exception]
    says: str
    arguments: dict[str, Any] = field(default_factory=dict)


class Make:
    """Makes sample tensors of one dtype from one seed; differentiable unless told otherwise."""

    def __init__(self, dtype: torch.dtype = torch.float64, device: str = "cpu", seed: int = 0) -> None:
        self.dtype, self.device = dtype, device
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int, grad: bool = True, scale: float = 1.0) -> Tensor:
        """Normal values."""
        return self._finish(scale * torch.randn(shape, generator=self.generator, dtype=torch.float64), grad)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0, grad: bool = True) -> Tensor:
        """Values between low and high."""
        unit = torch.rand(shape, generator=self.generator, dtype=torch.float64)
        return self._finish(low + (high - low) * unit, grad)

    def values(self, *values: float, grad: bool = True) -> Tensor:
        """The values given: kinks, ties, infinities."""
        return self._finish(torch.tensor(values, dtype=torch.float64), grad)

    def distinct(self, *shape: int, grad: bool = True) -> Tensor:
        """Values from -1 to 1 of which no two are close, in random order."""
        count = math.prod(shape)
        order = torch.randperm(count, generator=self.generator).to(torch.float64)
        return self._finish((2 * order + 1).div(max(count, 1)).sub(1).view(shape), grad)

    def labels(self, *shape: int, classes: int) -> Tensor:
        """Class indices from 0 to classes - 1."""
        return torch.randint(classes, shape, generator=self.generator).to(self.device)

    def _finish(self, tensor: Tensor, grad: bool) -> Tensor:
        return tensor.to(self.device, self.dtype).requires_grad_(grad)


@dataclass(frozen=True)
class Beyond:
    """A call for which the built-in has no value, or a wrong one, and ours has the mathematical one.

    Parity is not asked here; `tests/reference/test_beyond.py` asks ours for the answer below, the built-in for
    another one, and docs/conventions.md shows both.

    Attributes:
        when: which inputs are meant, in a few words.
        sample: makes the call; `None` among the inputs and constants have no gradient.
        output: the expected output, as nested lists; None where ours refuses the call.
        gradients: those of the output's sum, one for each input that requires grad.
        says: words of the error, where ours refuses.
    """

    when: str
    sample: Callable[[Make], Sample]
    output: Any = None
    gradients: Sequence[Any] = ()
    says: str = ""


def leaf(x: Tensor) -> Tensor:
    """A view of detached memory as a leaf of its own, strides and all."""
    return x.detach().requires_grad_()


def rounded_once(builtin: Callable[..., Any]) -> Callable[..., Any]:
    """A built-in that has no short dtypes, computed in float32 there and rounded once."""

    def op(x: Any, *arguments: Any, **options: Any) -> Any:
        if not isinstance(x, Tensor) or x.dtype not in (torch.bfloat16, torch.float16):
            return builtin(x, *arguments, **options)
        short = x.dtype
        wide = [a.float() if isinstance(a, Tensor) and a.dtype is short else a for a in (x, *arguments)]
        wide_options = {
            name: a.float() if isinstance(a, Tensor) and a.dtype is short else a for name, a in options.items()
        }
        return builtin(*wide, **wide_options).to(short)

    return op


@dataclass(frozen=True, eq=False)
class Record:
    """One op: what it is compared with, on which inputs, and what it must support.

    Attributes:
        name: PyTorch's name of the functional form, or ours where PyTorch has none; or of a class of modules.
        custom: our functional form; our class, in a record of modules that have no functional form.
        builtin: the op of PyTorch that it must equal, or a plain composition of tensor operations; or its class.
        samples: makes the sample inputs in the dtype of the given `Make`.
        functions: the `Function` classes behind the op.
        errors: calls that must fail, on both sides with the same type of error.
        builtin_lacks: what the built-in cannot do (``"double backward"``, ``"forward mode"``, ``"vmap"``,
            ``"float16"``); ours is then held against finite differences, or against a loop.
        double_backward: whether the built-in's second derivative is exact; finite differences alone judge ours
            where it is not.
        empty: whether the built-in can be given no elements; one ends the process there, one forgets its shape.
        roundings: units in the last place that a chain of several ops may add in the short dtypes.
        modules: pairs of our Module and PyTorch's, made by calls without arguments.
        beyond: calls whose answer the built-in does not have.
    """

    name: str
    custom: Callable[..., Any]
    builtin: Callable[..., Any]
    samples: Callable[[Make], Iterator[Sample]]
    functions: Sequence[type[torch.autograd.Function]]
    errors: Sequence[BadInput] = ()
    builtin_lacks: frozenset[str] = frozenset()
    double_backward: bool = True
    empty: bool = True
    roundings: int = UNITS
    modules: Sequence[tuple[Callable[[], torch.nn.Module], Callable[[], torch.nn.Module]]] = ()
    beyond: Sequence[Beyond] = ()

    @property
    def of_modules(self) -> bool:
        """Whether what is compared are modules, made anew for each sample."""
        return isinstance(self.custom, type)

    def sides(self, sample: Sample) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """What is called on a sample: both functional forms, or two modules with the same random parameters."""
        return self._made(self.custom, sample.arguments), self._made(self.builtin, sample.arguments)

    def fail(self, function: Callable[..., Any], bad: BadInput) -> None:
        """Makes a call that must fail, of `custom` or `builtin`."""
        inputs, options = bad.call()
        self._made(function, bad.arguments)(*inputs, **options)

    def _made(self, function: Callable[..., Any], arguments: dict[str, Any]) -> Callable[..., Any]:
        if not self.of_modules:
            return function
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            return function(**arguments)

    def call(self, sample: Sample) -> tuple[Subject, Call]:
        """Our side of a sample, with the parameters among what can be differentiated."""
        function = self.sides(sample)[0]
        named = function.named_parameters() if isinstance(function, torch.nn.Module) else ()
        return Subject(function), Call(sample.inputs, sample.options, {name: p for name, p in named})
