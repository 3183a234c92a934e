"""What is timed: a call of an op, or a whole training step, of either side and in each way it can be run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from reference.catalog import RECORDS, Make, Record, Sample
from scratchnet.testing import Comparison, compare
from scratchnet.testing.subject import differentiable, mapped
from scratchnet.testing.tolerances import UNITS

__all__ = ["DEFAULT", "Candidate", "OpPass", "Pass", "Workload", "channels_last", "hold", "op_workload"]

Sides = Callable[[], tuple[Callable[..., Any], Callable[..., Any]]]
Side = Literal["custom", "builtin"]


@dataclass(frozen=True)
class Candidate:
    """A side in one way of running it.

    Attributes:
        side: ours or PyTorch's.
        channels_last: whether images, and the weights that meet them, lie in memory with their channels last.
        compiled: whether it runs under `torch.compile`.
    """

    side: Side
    channels_last: bool = False
    compiled: bool = False

    def __str__(self) -> str:
        words = [self.side, "channels_last" if self.channels_last else "", "compiled" if self.compiled else ""]
        return " ".join(filter(None, words))


DEFAULT: tuple[Candidate, Candidate] = (Candidate("custom"), Candidate("builtin"))


class Pass(Protocol):
    """A forward and a backward pass that can be repeated; each is timed by itself.

    Attributes:
        parameters: tensors that stay whatever the graph keeps.
        in_place: whether what it writes is memory that it has had before.
    """

    parameters: Sequence[Tensor]
    in_place: bool

    @property
    def inputs_and_outputs(self) -> Sequence[Tensor]:
        """The tensors that the caller has, before the forward pass or after it."""

    def forward(self) -> None:
        """Runs the forward pass, and keeps what the backward needs."""

    def backward(self) -> None:
        """Runs the backward pass of the last forward pass, and drops its graph."""

    def moved(self, saved: int) -> tuple[int, int]:
        """Bytes that forward and backward move at least, if the graph keeps so many for the backward."""


@dataclass(frozen=True, eq=False)
class Workload:
    """One line of the table.

    Attributes:
        op: the name on the command line: an op of the catalog, or a training step.
        size: shapes and options, in words.
        prepare: makes a candidate's pass; both sides get equal inputs.
        compare: holds both sides against each other on the inputs that are timed.
        relies_on: the ops of the catalog whose own comparison must hold as well.
        layouts: whether channels_last is another way to run it.
        compiles: whether the built-in, and so the comparison of both under `torch.compile`, can be compiled.
        flops: floating-point operations of forward and backward, where the built-in does not show them to
            `torch.utils.flop_counter`.
    """

    op: str
    size: str
    prepare: Callable[[Candidate], Pass]
    compare: Callable[[], Comparison]
    relies_on: Sequence[str] = ()
    layouts: bool = False
    compiles: bool = True
    flops: tuple[float, float] | None = None

    def __str__(self) -> str:
        return f"{self.op} {self.size}"


class OpPass:
    """A call of an op, and the gradients of all it is given under a random upstream.

    Attributes:
        parameters: of a module.
        tensors: everything that is read: inputs, options, parameters.
        leaves: those of them that get a gradient.
        outputs: what the last forward pass returned.
        upstream: a random gradient for each differentiable output.
        grads: what the last backward pass returned.
    """

    in_place = False

    def __init__(self, function: Callable[..., Any], inputs: Sequence[Any], options: dict[str, Any]) -> None:
        self.function, self.inputs, self.options = function, inputs, options
        self.parameters: Sequence[Tensor] = list(function.parameters()) if isinstance(function, nn.Module) else []
        self.tensors = [*_flat((*inputs, *options.values())), *self.parameters]
        self.leaves = [x for x in self.tensors if differentiable(x)]
        self.outputs: list[Tensor] = []
        self.grads: Sequence[Tensor | None] = ()
        self.forward()
        self.returned = _bytes(self.outputs)
        self.recorded = [i for i, y in enumerate(self.outputs) if y.requires_grad and y.is_floating_point()]
        self.upstream = [torch.randn_like(self.outputs[i]) for i in self.recorded]
        self.backward()

    @property
    def inputs_and_outputs(self) -> Sequence[Tensor]:
        """What is given, and what the last forward pass returned."""
        return [*self.tensors, *self.outputs]

    def forward(self) -> None:
        """Calls the op."""
        self.outputs = _flat(self.function(*self.inputs, **self.options))

    def backward(self) -> None:
        """Takes the gradients; those of the last time go."""
        if self.recorded:
            ys = [self.outputs[i] for i in self.recorded]
            self.grads = torch.autograd.grad(ys, self.leaves, self.upstream, allow_unused=True)
        self.outputs = []

    def moved(self, saved: int) -> tuple[int, int]:
        """Everything given is read and everything returned is written; so are upstreams, what is kept, gradients."""
        given, gradients = _bytes(self.tensors), _bytes(self.grads)
        return given + self.returned, _bytes(self.upstream) + saved + gradients if self.recorded else 0


def _bytes(tensors: Sequence[Tensor | None]) -> int:
    return sum(x.numel() * x.element_size() for x in tensors if x is not None)


def _flat(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [x for part in value for x in _flat(part)] if isinstance(value, tuple | list) else []


def op_workload(
    op: str,
    size: str,
    sample: Callable[[Make], Sample],
    *,
    sides: Sides | None = None,
    layouts: bool = False,
    compiles: bool = True,
    flops: tuple[float, float] | None = None,
) -> Workload:
    """A call of an op of the catalog on a sample of its own; of a module, a call of the module.

    Args:
        op: its name in the catalog.
        size: the sample, in words.
        sample: makes it, in float32.
        sides: makes what is timed of both sides, where that is something else than the record says.
        layouts: see `Workload`.
        compiles: see `Workload`.
        flops: see `Workload`.
    """
    return Workload(
        op,
        size,
        partial(_prepare, op, sample, sides),
        partial(_compare, op, sample, sides),
        relies_on=(op,),
        layouts=layouts,
        compiles=compiles,
        flops=flops,
    )


def _sides(record: Record, sample: Sample, sides: Sides | None) -> tuple[Any, Any]:
    return record.sides(sample) if sides is None else sides()


def _prepare(op: str, sample: Callable[[Make], Sample], sides: Sides | None, candidate: Candidate) -> OpPass:
    given = sample(Make(torch.float32))
    function = _sides(RECORDS[op], given, sides)[candidate.side == "builtin"]
    inputs = given.inputs
    if candidate.channels_last:
        inputs = mapped(channels_last, inputs)
    if candidate.compiled:
        function = torch.compile(function, dynamic=False, fullgraph=True)
    return OpPass(function, inputs, given.options)


def channels_last(x: Any) -> Any:
    """An image, or the weight of one, with its channels last in memory; anything else as it is."""
    if not isinstance(x, Tensor) or x.dim() != 4:
        return x
    return x.detach().contiguous(memory_format=torch.channels_last).requires_grad_(x.requires_grad)


def _compare(op: str, sample: Callable[[Make], Sample], sides: Sides | None) -> Comparison:
    given, record = sample(Make(torch.float32)), RECORDS[op]
    custom, builtin = _sides(record, given, sides)
    return hold(custom, builtin, *given.inputs, roundings=record.roundings, name=op, **given.options)


def hold(
    custom: Callable[..., Any],
    builtin: Callable[..., Any],
    *inputs: Any,
    name: str,
    roundings: int = UNITS,
    **options: Any,
) -> Comparison:
    """Compares what is timed: values and gradients, and nothing beyond them."""
    return compare(
        custom,
        builtin,
        *inputs,
        no_grad=False,
        double_backward=False,
        forward_mode=False,
        vmap=False,
        roundings=roundings,
        name=name,
        **options,
    )
