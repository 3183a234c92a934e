"""Records of the catalog, and the tensors of their samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from scratchnet.testing.subject import Call, Subject
from scratchnet.testing.tolerances import UNITS

__all__ = [
    "DTYPES",
    "REDUCTIONS",
    "BadInput",
    "Beyond",
    "Make",
    "Record",
    "Sample",
    "bad",
    "leaf",
    "module_pairs",
    "rounded_once",
]

REDUCTIONS = ("none", "mean", "sum")
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Sample:
    """One call of the custom and the built-in op: positional arguments and keyword options.

    ``smooth`` is false at kinks, ties and infinities, where finite differences are meaningless, and for large samples
    where they are slow. In a record of modules ``arguments`` are those of the constructor.
    """

    inputs: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    smooth: bool = True
    arguments: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [_format(x) for x in self.inputs]
        parts += [f"{k}={_format(v)}" for k, v in (*self.options.items(), *self.arguments.items())]
        return ", ".join(parts)


def _format(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_format, value))})"
    return str(tuple(value.shape)) if isinstance(value, Tensor) else repr(value)


@dataclass(frozen=True)
class BadInput:
    """A call that must fail, the type of its error, and words that its message must contain.

    The type is the one that PyTorch raises; where its kernels lack a dtype or an option, that is NotImplementedError.
    In a record of modules ``options`` are those of the constructor, and either it or the call may fail.
    """

    error: type[Exception]
    says: str
    inputs: tuple[Any, ...]
    options: dict[str, Any]


def bad(error: type[Exception], says: str, *inputs: Any, **options: Any) -> BadInput:
    """Returns the `BadInput` of a call with these arguments."""
    return BadInput(error, says, inputs, options)


class Make:
    """Makes random tensors of one dtype from one seed, with gradients by default."""

    def __init__(self, dtype: torch.dtype = torch.float64, device: str = "cpu", seed: int = 0) -> None:
        self.dtype, self.device = dtype, device
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int, grad: bool = True, scale: float = 1.0) -> Tensor:
        """Returns normal values."""
        return self._finish(scale * torch.randn(shape, generator=self.generator, dtype=torch.float64), grad)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0, grad: bool = True) -> Tensor:
        """Returns values between low and high."""
        unit = torch.rand(shape, generator=self.generator, dtype=torch.float64)
        return self._finish(low + (high - low) * unit, grad)

    def values(self, *values: float, grad: bool = True) -> Tensor:
        """Returns the given values: kinks, ties, infinities."""
        return self._finish(torch.tensor(values, dtype=torch.float64), grad)

    def distinct(self, *shape: int, grad: bool = True) -> Tensor:
        """Returns values from -1 to 1, no two of them close, in random order."""
        count = math.prod(shape)
        order = torch.randperm(count, generator=self.generator).to(torch.float64)
        return self._finish((2 * order + 1).div(max(count, 1)).sub(1).view(shape), grad)

    def labels(self, *shape: int, classes: int) -> Tensor:
        """Returns class indices from 0 to classes - 1."""
        return torch.randint(classes, shape, generator=self.generator).to(self.device)

    def _finish(self, tensor: Tensor, grad: bool) -> Tensor:
        return tensor.to(self.device, self.dtype).requires_grad_(grad)


@dataclass(frozen=True)
class Beyond:
    """A call for which only ours has the mathematical result.

    `tests/reference/test_beyond.py` checks that ours returns the result below and the built-in does not;
    docs/conventions.md shows both.

    Attributes:
        when: A short description of the inputs.
        sample: Makes the call.
        output: The expected output as nested lists; None if ours raises an error.
        gradients: Gradients of the sum of the output, one for each input that requires grad.
        says: Words of the error that ours raises.
    """

    when: str
    sample: Callable[[Make], Sample]
    output: Any = None
    gradients: Sequence[Any] = ()
    says: str = ""


def leaf(x: Tensor) -> Tensor:
    """Detaches a tensor and makes it a leaf; its strides stay."""
    return x.detach().requires_grad_()


def module_pairs(
    custom: Callable[..., nn.Module], builtin: Callable[..., nn.Module], *options: dict[str, Any], sizes: Any = ()
) -> list[tuple[Callable[[], nn.Module], Callable[[], nn.Module]]]:
    """Returns a pair of constructors for each set of options, both with the same positional sizes."""
    return [(partial(custom, *sizes, **each), partial(builtin, *sizes, **each)) for each in options]


def rounded_once(builtin: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a built-in without short dtypes: computes in float32 and rounds once."""

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
    """One op: its built-in, its samples, and what it must support.

    Attributes:
        name: The name of the functional form or of the class of modules; PyTorch's if it has one.
        custom: Our functional form, or our class if there is no functional form.
        builtin: PyTorch's op or class, or a composition of tensor operations.
        samples: Makes the samples in the dtype of a `Make`.
        functions: The op's `Function` classes.
        errors: Calls that must fail on both sides with the same type of error.
        builtin_lacks: What the built-in cannot do (``"double backward"``, ``"forward mode"``, ``"vmap"``,
            ``"float16"``); ours is then compared with finite differences or a loop.
        double_backward: Whether the built-in's second derivative is exact; if not, ours is only compared with finite
            differences.
        empty: Whether the built-in takes empty inputs; one crashes, one loses the shape.
        roundings: Units in the last place that a chain of ops may add in the short dtypes.
        modules: Pairs of constructors, ours and PyTorch's, without arguments.
        beyond: Calls for which only ours has the mathematical result.
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
    modules: Sequence[tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = ()
    beyond: Sequence[Beyond] = ()

    @property
    def of_modules(self) -> bool:
        """Whether the record compares modules, constructed anew for each sample."""
        return isinstance(self.custom, type)

    def sides(self, sample: Sample) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Returns both functional forms, or two modules with equal random parameters."""
        return self._made(self.custom, sample.arguments), self._made(self.builtin, sample.arguments)

    def fail(self, function: Callable[..., Any], bad: BadInput) -> None:
        """Makes a call of `custom` or `builtin` that must fail."""
        if self.of_modules:
            self._made(function, bad.options)(*bad.inputs)
        else:
            function(*bad.inputs, **bad.options)

    def _made(self, function: Callable[..., Any], arguments: dict[str, Any]) -> Callable[..., Any]:
        if not self.of_modules:
            return function
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            return function(**arguments)

    def call(self, sample: Sample) -> tuple[Subject, Call]:
        """Returns our side of a sample, with a module's parameters among the leaves."""
        function = self.sides(sample)[0]
        named = function.named_parameters() if isinstance(function, nn.Module) else ()
        return Subject(function), Call(sample.inputs, sample.options, {name: p for name, p in named})
