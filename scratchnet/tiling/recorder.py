"""Records mathematics on elements and rows as lines, each of which is one tensor operation.

The recorder lets a function run once, on tensors that have two elements along each dimension, or one where they
broadcast, and looks at what it dispatches. So the sizes of a tensor mean nothing to the function, which takes a `mean`
where it would divide by a size. What the recorder changes on the way leaves the values alone:

- operations in place become lines like all others, and equal ones are made once;
- numbers become tensors without dimensions, which save the dispatcher 2 µs a line;
- a mask holds 0 and 1 as numbers of the data's width, and `torch.where` becomes arithmetic with integers on the bits
  of what it selects. Like ``where``, and unlike a product with 0 and 1, it keeps NaN and infinity out of what was
  not selected; unlike ``where`` it has no branch at each element. Where signs are mixed the processor guesses every
  second branch wrong: 128 thousand elements take 240 µs, and the arithmetic 25;
- a selection that is a minimum or a maximum, as ``torch.where(x < bound, bound, x)``, is made as one, up to the sign
  of zero: so authors can choose the slope at the bound and at NaN.

Only operations in ``PLAIN``, reductions, and those that `Recorder` lowers can be recorded; others raise `Unrecordable`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["BITS", "REDUCTIONS", "Line", "Mask", "Recorder", "Shape", "Unrecordable", "Value"]

PLAIN = frozenset(
    """
    abs add addcdiv addcmul clamp copysign div erf erfc exp exp2 expm1 lerp log log1p maximum minimum mul neg pow
    reciprocal round rsqrt sign sqrt square sub
    """.split()
)
COMPARISONS = frozenset("eq ne lt le gt ge".split())
REDUCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(torch, name) for name in ("sum", "mean", "amax", "amin")
}
BITS = {torch.float64: torch.int64, torch.float32: torch.int32}
Shape = tuple[int, ...]


class Unrecordable(Exception):
    """The function does what no step can."""


class Value(NamedTuple):
    """A tensor of the program, a number, or what a line makes."""

    kind: str
    number: int


class Mask(NamedTuple):
    """A value of 0 and 1 that holds where it is 1 or, negated, where it is 0."""

    value: Value
    negated: bool = False


class Line(NamedTuple):
    """A step whose values have no place yet; those it reads or makes as integers are marked."""

    function: Callable[..., Any]
    reads: tuple[tuple[Value, bool], ...]
    bits: bool
    options: tuple[tuple[str, Any], ...]


class Recorder(TorchDispatchMode):
    """Records what is dispatched as lines, each of which writes to memory of its own.

    ``shapes`` holds the shape of each line in the rehearsal.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.inputs: dict[int, Shape] = {}
        self.lines: dict[Line, Value] = {}
        self.shapes: list[Shape] = []
        self.numbers: list[Tensor] = []
        self.known: dict[int, Value | Mask] = {}
        self.given: dict[int, Value] = {}
        self.alive: list[Tensor] = []

    def input(self, index: int, shape: Shape, dtype: torch.dtype) -> Tensor:
        """Returns a stand-in for a tensor of the call: numbers, a mask, or indices along a dimension."""
        value = Value("tensor", index)
        self.inputs[index] = shape
        if dtype is self.dtype:
            return self._known_as(torch.ones(shape, dtype=dtype, device="cpu"), value)
        given = torch.zeros(shape, dtype=dtype, device="cpu")
        self.given[id(given)] = value
        return self._known_as(given, Mask(self._line(_copied, value)))

    def result(self, tensor: Any) -> Value:
        """Returns the line or the input that a tensor is."""
        if not isinstance(tensor, Tensor):
            raise Unrecordable
        return self._value(tensor)

    def copy(self, value: Value) -> Value:
        """Returns a line that makes the value anew."""
        return self._line(torch.mul, value, self._number(1.0))

    def shape(self, value: Value) -> Shape:
        """Returns the shape of a value in the rehearsal."""
        if value.kind == "number":
            return ()
        return self.inputs[value.number] if value.kind == "tensor" else self.shapes[value.number]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs an operation, and remembers which line makes its result."""
        options = dict(kwargs or {})
        result = func(*args, **options)
        options.pop("out", None)
        name = func._schema.name.removeprefix("aten::")
        name = name if name.startswith("_") else name.removesuffix("_")
        if any(isinstance(a, Tensor) and id(a) in self.known for a in (*args, *options.values())):
            self._known_as(result, self._lowered(name, args, options))
        return result

    def _lowered(self, name: str, args: Sequence[Any], options: dict[str, Any]) -> Value | Mask:
        """What an operation makes, by one line or several."""
        if name in ("clamp", "pow"):  # whose bounds and powers are fastest as they are
            if any(isinstance(a, Tensor) for a in args[1:]) or not isinstance(args[0], Tensor):
                raise Unrecordable
            names = ("min", "max") if name == "clamp" else ("exponent",)
            return self._line(
                getattr(torch, name), self._value(args[0]), **dict(zip(names, args[1:], strict=False)), **options
            )
        if name in REDUCTIONS:
            return self._reduced(name, self._value(args[0]), *args[1:], **options)
        if name == "mul" and not isinstance(args[1], Tensor) and args[1] == 1:
            return self._value(args[0])
        if name in PLAIN:
            return self._line(getattr(torch, name), *map(self._value, args), **options)
        if name == "rsub" and len(args) == 2:
            return self._line(torch.sub, self._value(args[1]), self._value(args[0]), **options)
        if name in COMPARISONS:
            return Mask(self._line(getattr(torch, name), *map(self._value, args)))
        if name in ("logical_not", "bitwise_not"):
            mask = self._mask(args[0])
            return mask._replace(negated=not mask.negated)
        if name in ("logical_and", "bitwise_and"):
            return Mask(self._line(torch.mul, *map(self._plain_mask, args)))
        if name in ("logical_or", "bitwise_or"):
            return Mask(self._line(torch.maximum, *map(self._plain_mask, args)))
        if name == "where":
            mask, chosen, other = self._mask(args[0]), self._value(args[1]), self._value(args[2])
            return self._extreme(mask, chosen, other) or self._selected(mask, chosen, other)
        if name == "scatter_add":
            index = self.given.get(id(args[2]))
            if index is None or args[2].dtype is not torch.int64:
                raise Unrecordable
            x, dim = self._value(args[0]), args[1] if args[1] < 0 else args[1] - args[0].dim()
            return self._line(_scatter_add, x, index, self._value(args[3]), dim=(dim,))
        if name == "masked_fill" and id(args[1]) in self.given and not isinstance(args[2], Tensor):
            return self._line(_filled, self._value(args[0]), self.given[id(args[1])], value=args[2])
        if name == "masked_fill":
            return self._selected(self._mask(args[1]), self._value(args[2]), self._value(args[0]))
        if name == "_to_copy" and options.get("dtype") is self.dtype and isinstance(self.known[id(args[0])], Mask):
            return self._plain_mask(args[0])
        if name in ("clone", "detach"):
            return self._value(args[0])
        raise Unrecordable

    def _reduced(
        self, name: str, value: Value, dim: Sequence[int] = (), keepdim: bool = False, **options: Any
    ) -> Value:
        """Adds a reduction along some dimensions, which stay or, if they are the first ones, may vanish."""
        shape = self.shape(value)
        dims = tuple(sorted(d if d < 0 else d - len(shape) for d in dim))
        if (
            options
            or not dims
            or not shape
            or not (keepdim or dims == tuple(range(-len(shape), len(dims) - len(shape))))
        ):
            raise Unrecordable
        left = tuple(1 if d - len(shape) in dims else size for d, size in enumerate(shape))
        line = Line(REDUCTIONS[name], ((value, False),), False, (("dim", dims), ("keepdim", keepdim)))
        return self._added(line, left if keepdim else left[len(dims) :])

    def _extreme(self, mask: Mask, chosen: Value, other: Value) -> Value | None:
        """Recognizes two selections that are extremes, so that authors can choose the slope at the kink and at NaN.

        They are ``where(x < bound, bound, x)``, of any comparison, and ``where(x > 0, x, slope * x)`` for slopes to 1.
        """
        lines = list(self.lines)
        compared = lines[mask.value.number]
        if mask.negated or len(compared.reads) != 2:
            return None
        (x, _), (bound, _) = compared.reads
        made = lines[other.number] if other.kind == "line" else compared
        if compared.function is torch.gt and x == chosen and self._is_zero(bound) and made.function is torch.mul:
            factor = made.reads[1][0]
            slope = self.numbers[factor.number].item() if factor.kind == "number" else 0
            if made.reads[0][0] == x and 0 < slope <= 1:
                return self._line(torch.maximum, x, other)
        name = {torch.lt: "min", torch.le: "min", torch.gt: "max", torch.ge: "max"}.get(compared.function)
        if name is None or x != other or bound != chosen or bound.kind != "number":
            return None
        bounds: dict[str, Any] = {name: self.numbers[bound.number].item()}
        if made.function is torch.clamp and (*dict(made.options), name) == ("min", "max"):
            return self._line(torch.clamp, made.reads[0][0], **dict(made.options), **bounds)
        return self._line(torch.clamp, x, **bounds)

    def _selected(self, mask: Mask, chosen: Value, other: Value) -> Value:
        """``chosen`` where the mask holds: other + mask · (chosen - other), on the bits."""
        if mask.negated:
            chosen, other = other, chosen
        where = self._line(_copied, mask.value, bits=True)
        if self._is_zero(other):
            return self._on_bits(torch.mul, where, chosen)
        if self._is_zero(chosen):
            return self._on_bits(torch.addcmul, other, where, other, value=-1)
        change = self._on_bits(torch.sub, chosen, other)
        if other.kind == "number":  # without elements of its own, for which addcmul is not vectorised
            return self._on_bits(torch.add, self._on_bits(torch.mul, where, change), other)
        return self._on_bits(torch.addcmul, other, where, change)

    def _line(self, function: Callable[..., Any], *reads: Value, bits: bool = False, **options: Any) -> Value:
        line = Line(function, tuple((r, False) for r in reads), bits, tuple(options.items()))
        return self._added(line, torch.broadcast_shapes(*map(self.shape, reads)))

    def _on_bits(self, function: Callable[..., Any], *reads: Value, **options: Any) -> Value:
        line = Line(function, tuple((r, True) for r in reads), True, tuple(options.items()))
        return self._added(line, torch.broadcast_shapes(*map(self.shape, reads)))

    def _added(self, line: Line, shape: Shape) -> Value:
        if line not in self.lines:
            self.lines[line] = Value("line", len(self.lines))
            self.shapes.append(tuple(shape))
        return self.lines[line]

    def _known_as(self, tensor: Tensor, what: Value | Mask) -> Tensor:
        self.known[id(tensor)] = what
        self.alive.append(tensor)
        return tensor

    def _value(self, x: Any) -> Value:
        """Returns what is known of a tensor; one that no tensor of the call went into is a number."""
        known = self.known.get(id(x))
        if known is None and (not isinstance(x, Tensor) or x.numel() == 1):
            return self._number(x.item() if isinstance(x, Tensor) else x)
        if not isinstance(known, Value):
            raise Unrecordable
        return known

    def _mask(self, tensor: Tensor) -> Mask:
        known = self.known.get(id(tensor))
        if not isinstance(known, Mask) or tensor.dtype is torch.int64:
            raise Unrecordable
        return known

    def _plain_mask(self, tensor: Tensor) -> Value:
        mask = self._mask(tensor)
        return self._line(torch.sub, self._number(1.0), mask.value) if mask.negated else mask.value

    def _number(self, number: float) -> Value:
        tensor = torch.full((), number, dtype=self.dtype, device="cpu")
        bits = [t.view(BITS[self.dtype]).item() for t in (tensor, *self.numbers)]
        if bits[0] not in bits[1:]:
            self.numbers.append(tensor)
            bits.append(bits[0])
        return Value("number", bits.index(bits[0], 1) - 1)

    def _is_zero(self, value: Value) -> bool:
        return value.kind == "number" and not self.numbers[value.number].view(BITS[self.dtype]).item()


def _copied(mask: Tensor, *, out: Tensor) -> Tensor:
    return out.copy_(mask)


def _scatter_add(x: Tensor, index: Tensor, source: Tensor, *, dim: tuple[int], out: Tensor) -> Tensor:
    return torch.scatter_add(x, dim[0], index, source, out=out)


def _filled(x: Tensor, mask: Tensor, *, value: float, out: Tensor) -> Tensor:
    return (out if out is x else out.copy_(x)).masked_fill_(mask, value)
