"""Workloads: calls of an op, or training steps, that either side can run in several modes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from reference.catalog import RECORDS, Make, Record, Sample
from scratchnet import kernels
from scratchnet.testing import Comparison, compare
from scratchnet.testing.subject import differentiable, mapped
from scratchnet.testing.tolerances import UNITS

__all__ = [
    "DEFAULT",
    "Candidate",
    "InKernels",
    "OpPass",
    "Pass",
    "Workload",
    "channels_last",
    "compare_values",
    "op_workload",
]

Sides = Callable[[], tuple[Callable[..., Any], Callable[..., Any]]]
Side = Literal["custom", "builtin"]


@dataclass(frozen=True)
class Candidate:
    """A side in one mode.

    Attributes:
        side: Ours (``"custom"``) or PyTorch's (``"builtin"``).
        channels_last: Whether images and their weights are in channels-last format.
        compiled: Whether it runs under `torch.compile`.
        kernels: Whether large calls run as compiled kernels (`scratchnet.kernels`); ours alone.
    """

    side: Side
    channels_last: bool = False
    compiled: bool = False
    kernels: bool = False

    def __str__(self) -> str:
        modes = [name for name in ("channels_last", "compiled", "kernels") if getattr(self, name)]
        return " ".join([self.side, *modes])


DEFAULT: tuple[Candidate, Candidate] = (Candidate("custom"), Candidate("builtin"))


class Pass(Protocol):
    """A forward and a backward pass that can be repeated, timed separately.

    Attributes:
        parameters: Tensors that stay alive without the graph.
        in_place: Whether it writes to memory that is already in use.
    """

    parameters: Sequence[Tensor]
    in_place: bool

    @property
    def inputs_and_outputs(self) -> Sequence[Tensor]:
        """Tensors that the caller has before or after the forward pass."""

    def forward(self) -> None:
        """Runs the forward pass and keeps its graph."""

    def backward(self) -> None:
        """Runs the backward pass of the last forward pass and drops its graph."""

    def moved(self, saved: int) -> tuple[int, int]:
        """Returns the fewest bytes that forward and backward move, given the bytes saved by the graph."""


@dataclass(frozen=True, eq=False)
class Workload:
    """A call or a training step to time.

    Attributes:
        op: The name on the command line: an op of the catalog, or a training step.
        size: Shapes and options, in words.
        prepare: Makes a candidate's pass; both sides get equal inputs.
        compare: Compares both sides on the inputs that are timed.
        relies_on: Ops of the catalog that must agree with the built-in too.
        layouts: Whether it is timed in channels-last format too.
        compiles: Whether the built-in can be compiled, so that both are timed under `torch.compile`.
        flops: Floating-point operations of forward and backward, where `torch.utils.flop_counter` does not see the
            built-in's.
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


@dataclass
class InKernels:
    """A pass whose large calls run as compiled kernels, while those of other passes do not."""

    of: Pass

    def __post_init__(self) -> None:
        self.parameters, self.in_place = self.of.parameters, self.of.in_place

    @property
    def inputs_and_outputs(self) -> Sequence[Tensor]:
        return self.of.inputs_and_outputs

    def forward(self) -> None:
        kernels.enable()
        self.of.forward()
        kernels.disable()

    def backward(self) -> None:
        kernels.enable()
        self.of.backward()
        kernels.disable()

    def moved(self, saved: int) -> tuple[int, int]:
        """Counts what the pass counts."""
        return self.of.moved(saved)


class OpPass:
    """A call of an op, and the gradients of all its tensors for a random upstream.

    Attributes:
        parameters: The parameters, if the function is a module.
        tensors: All tensors that are read: inputs, options, parameters.
        leaves: The tensors that get a gradient.
        outputs: The outputs of the last forward pass.
        upstream: A random gradient for each differentiable output.
        grads: The gradients of the last backward pass.
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
        """The inputs, options and parameters, and the outputs of the last forward pass."""
        return [*self.tensors, *self.outputs]

    def forward(self) -> None:
        self.outputs = _flat(self.function(*self.inputs, **self.options))

    def backward(self) -> None:
        """Computes the gradients; the previous ones are freed."""
        if self.recorded:
            ys = [self.outputs[i] for i in self.recorded]
            self.grads = torch.autograd.grad(ys, self.leaves, self.upstream, allow_unused=True)
        self.outputs = []

    def moved(self, saved: int) -> tuple[int, int]:
        """Counts tensors read, outputs written, and in the backward upstreams, saved tensors and gradients."""
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
    """Returns the workload of a call of an op or module of the catalog.

    Args:
        op: Its name in the catalog.
        size: The sample, in words.
        sample: Makes the sample in float32.
        sides: Makes both sides, if they differ from the record's.
        layouts: See `Workload`.
        compiles: See `Workload`.
        flops: See `Workload`.
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
        # torch's recurrent networks stay out of graphs.
        function = torch.compile(function, dynamic=False, fullgraph=candidate.side == "custom")
    return OpPass(function, inputs, given.options)


def channels_last(x: Any) -> Any:
    """Returns a 4-dimensional tensor in channels-last format, anything else unchanged."""
    if not isinstance(x, Tensor) or x.dim() != 4:
        return x
    return x.detach().contiguous(memory_format=torch.channels_last).requires_grad_(x.requires_grad)


def _compare(op: str, sample: Callable[[Make], Sample], sides: Sides | None) -> Comparison:
    given, record = sample(Make(torch.float32)), RECORDS[op]
    custom, builtin = _sides(record, given, sides)
    return compare_values(custom, builtin, *given.inputs, roundings=record.roundings, name=op, **given.options)


def compare_values(
    custom: Callable[..., Any],
    builtin: Callable[..., Any],
    *inputs: Any,
    name: str,
    roundings: int = UNITS,
    **options: Any,
) -> Comparison:
    """Compares values and gradients, and nothing else."""
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
