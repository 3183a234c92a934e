"""Runs an op under each of torch's tracers, at the traced sizes and at others.

A tracer takes a module and its tensors and yields attempts: a name, and a call that returns a description of what
differs from the plain call, empty if nothing does, or raises an error. Ours need not do what the built-in cannot.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import Dim, export
from torch.utils._pytree import tree_leaves

from reference.catalog import Make, Record, Sample

__all__ = ["TRACERS", "sample_of", "traced"]

Tensors = tuple[Tensor, ...]
Findings = dict[str, str]
NOT_REACHED = "an earlier step failed"


class Called(nn.Module):
    """A call as a module of its tensors, with the other arguments as constants."""

    def __init__(self, function: Callable[..., Any], inputs: tuple[Any, ...], options: dict[str, Any]) -> None:
        super().__init__()
        self.function = function
        self.constants, self.options = tuple(None if isinstance(x, Tensor) else x for x in inputs), options
        self.positions = [i for i, x in enumerate(inputs) if isinstance(x, Tensor)]

    def forward(self, *tensors: Tensor) -> Any:
        inputs = list(self.constants)
        for position, tensor in zip(self.positions, tensors, strict=False):
            inputs[position] = tensor
        return self.function(*inputs, **self.options)


def sample_of(record: Record) -> Sample:
    """Returns the first sample whose sizes exceed 1 (tracers treat 1 as a constant), or else the first."""
    samples = list(record.samples(Make(torch.float32)))
    return next((s for s in samples if _varied(s)), samples[0])


def _varied(sample: Sample) -> bool:
    first = sample.inputs[0]
    return isinstance(first, Tensor) and first.dim() > 1 and min(first.shape) > 1


def traced(record: Record, tracer: Callable[[nn.Module, Tensors], Iterator[tuple[str, Callable[[], Any]]]]) -> str:
    """Returns the first attempt at which only ours fails, or ``works``, ``works alone`` or ``-``."""
    sample = sample_of(record)
    with _quiet():
        ours, theirs = (_findings(side, sample, tracer) for side in record.sides(sample))
    for name, error in ours.items():
        if error and not theirs.get(name, NOT_REACHED):
            return f"{name}: {error}"
    if any(theirs.get(name, NOT_REACHED) and not error for name, error in ours.items()) and all(theirs.values()):
        return "works alone"
    return "-" if all(ours.values()) else "works"


def _findings(side: Callable[..., Any], sample: Sample, tracer: Callable[..., Any]) -> Findings:
    tensors = tuple(x.detach().requires_grad_(x.requires_grad) for x in sample.inputs if isinstance(x, Tensor))
    call = Called(side, sample.inputs, sample.options)
    found = {}
    for name, attempt in tracer(call, tensors):
        try:
            found[name] = attempt() or ""
        except Exception as error:
            message = (str(error).strip() or "no message").splitlines()[0]
            found[name] = f"{type(error).__name__}: {message}"
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), torch.random.fork_rng(devices=()):
        warnings.simplefilter("ignore")
        yield


def _run(function: Callable[..., Any], tensors: Tensors) -> list[Any]:
    torch.manual_seed(0)
    return tree_leaves(function(*(x.detach().clone().requires_grad_(x.requires_grad) for x in tensors)))


def _compared(function: Callable[..., Any], plain: Callable[..., Any], tensors: Tensors) -> str:
    """Compares the outputs of both functions; empty if they are equal."""
    expected = _run(plain, tensors)
    for actual, wanted in zip(_run(function, tensors), expected, strict=True):
        if isinstance(wanted, Tensor):
            torch.testing.assert_close(actual, wanted, rtol=1e-4, atol=1e-5, equal_nan=True)
    return ""


def _gradients(function: Callable[..., Any], plain: Callable[..., Any], tensors: Tensors) -> str:
    """Compares the gradients of both functions; empty if they are equal."""
    found: list[Any] = []
    for side in (function, plain):
        leaves = [x.detach().clone().requires_grad_(x.requires_grad) for x in tensors]
        wanted = [x for x in leaves if x.requires_grad]
        torch.manual_seed(0)
        outputs = [y for y in tree_leaves(side(*leaves)) if isinstance(y, Tensor) and y.requires_grad]
        upstreams = [torch.linspace(-1, 1, y.numel()).view(y.shape) for y in outputs]
        given = {"allow_unused": True, "materialize_grads": True}
        found.append(torch.autograd.grad(outputs, wanted, upstreams, **given) if outputs and wanted else ())
    if bool(found[0]) != bool(found[1]):
        return "no gradient" if found[1] else "a gradient where there is none"
    for actual, expected in zip(*found, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4, equal_nan=True)
    return ""


def _other_sizes(tensors: Tensors) -> dict[str, Tensors]:
    """Returns tensors doubled along the first dimension, all or the first alone, or the last dimension."""
    first, *rest = tensors
    doubled = {"every first size": tuple(_doubled(x, 0) for x in tensors), "batch": (_doubled(first, 0), *rest)}
    return {**doubled, "last size": (_doubled(first, -1), *rest)} if first.dim() > 1 else doubled


def _doubled(x: Tensor, dim: int) -> Tensor:
    return torch.cat((x, x), dim).detach().requires_grad_(x.requires_grad) if x.dim() else x


def _at_kinks(x: Tensor) -> Tensor:
    """Values at which functions bend, in place of those of a tensor that needs a gradient."""
    if not x.requires_grad or x.is_complex():
        return x
    bends = torch.tensor([0, 1, -1, 3, -3, 6, 0.5, -0.5, 0], dtype=x.dtype)
    return bends.repeat(x.numel() // len(bends) + 1)[: x.numel()].view(x.shape).requires_grad_()


Attempts = Iterator[tuple[str, Callable[[], Any]]]


def jit(call: nn.Module, tensors: Tensors) -> Attempts:
    """Tries `torch.jit.trace`: values, gradients, and other sizes."""
    torch.manual_seed(0)
    graph: list[Any] = []
    yield "trace", lambda: graph.append(torch.jit.trace(call, tensors, check_trace=False))
    if graph:
        yield "values", lambda: _compared(graph[0], call, tensors)
        yield "gradients", lambda: _gradients(graph[0], call, tensors)
        yield "gradients at kinks", lambda: _gradients(graph[0], call, (_at_kinks(tensors[0]), *tensors[1:]))
        for name, others in _other_sizes(tensors).items():
            yield name, partial(_compared, graph[0], call, others)


def symbolic(call: nn.Module, tensors: Tensors) -> Attempts:
    """Tries `torch.fx.symbolic_trace`."""
    names = ", ".join(f"x{i}" for i in range(len(tensors)))
    space: dict[str, Any] = {"Module": nn.Module}
    exec(f"class Root(Module):\n def forward(self, {names}):\n  return self.call.forward({names})\n", space)
    root = space["Root"]()
    root.call = call
    yield "values", lambda: _compared(torch.fx.symbolic_trace(root), call, tensors)


def _export(dims: Callable[[int, int], bool]) -> Callable[[nn.Module, Tensors], Attempts]:
    """Returns a tracer for `torch.export`: whether the given sizes stay dynamic, and other sizes run."""

    def tracer(call: nn.Module, tensors: Tensors) -> Attempts:
        detached = tuple(x.detach() for x in tensors)
        for which in sorted({1, len(detached)}):
            yield from exported(call, detached, which)

    def exported(call: nn.Module, tensors: Tensors, count: int) -> Attempts:
        """Makes the sizes of the first ``count`` tensors dynamic."""
        shapes = [
            [Dim.AUTO if i < count and dims(i, d) else Dim.STATIC for d in range(x.dim())]
            for i, x in enumerate(tensors)
        ]
        programs: list[Any] = []
        some = f" ({count} dynamic)"
        yield f"export{some}", lambda: programs.append(export(call, tensors, dynamic_shapes=(tuple(shapes),)))
        if not programs:
            return
        yield f"values{some}", lambda: _compared(programs[0].module(), call, tensors)
        for name, others in _other_sizes(tensors).items():
            if count > 1 or name != "every first size":
                yield f"{name}{some}", partial(_compared, programs[0].module(), call, others)
        inputs = [n.meta["val"] for n in programs[0].graph.nodes if n.op == "placeholder"][-len(tensors) :]
        for i, x in enumerate(inputs[:count]):
            for d, size in enumerate(x.shape):
                if dims(i, d):
                    fixed = "" if isinstance(size, torch.SymInt) else f"is {size}"
                    yield f"dimension {d} of tensor {i} stays dynamic{some}", partial(str, fixed)

    return tracer


def fake(call: nn.Module, tensors: Tensors) -> Attempts:
    """Tries fake tensors, inside their mode and outside, and meta tensors; none has readable values."""

    def shapes(outputs: Any) -> list[Any]:
        return [(y.shape, y.dtype) for y in tree_leaves(outputs) if isinstance(y, Tensor)]

    options = getattr(call, "options", {}).values()

    def same(run: Callable[[], Any]) -> str:
        found, expected = shapes(run()), shapes(_run(call, tensors))
        return "" if found == expected else f"{found} instead of {expected}"

    mode = FakeTensorMode(allow_non_fake_inputs=True)
    stand_ins = [mode.from_tensor(x.detach()).requires_grad_(x.requires_grad) for x in tensors]

    def inside() -> Any:
        with mode:
            return call(*stand_ins)

    yield "inside", lambda: same(inside)
    yield "outside", lambda: same(lambda: call(*stand_ins))
    if not list(call.parameters()) and not any(isinstance(x, Tensor) for x in options):
        yield "meta", lambda: same(lambda: call(*(x.to("meta") for x in tensors)))


def onnx(call: nn.Module, tensors: Tensors) -> Attempts:
    """Tries `torch.onnx.export` from a trace, run by onnxruntime."""

    def run(*inputs: Tensor) -> list[Tensor]:
        from onnxruntime import InferenceSession

        file = io.BytesIO()
        with redirect_stdout(io.StringIO()), torch.no_grad():  # a failed export prints its graph
            torch.onnx.export(call.eval(), inputs, file, dynamo=False)  # type: ignore[arg-type]
        session = InferenceSession(file.getvalue())
        named = {each.name: x.numpy() for each, x in zip(session.get_inputs(), inputs, strict=True)}
        return [torch.tensor(y) for y in session.run(None, named)]

    yield "values", lambda: _compared(run, call, tuple(x.detach() for x in tensors))


TRACERS: dict[str, Callable[[nn.Module, Tensors], Attempts]] = {
    "jit.trace": jit,
    "fx": symbolic,
    "export": _export(lambda i, d: False),
    "export, dynamic batch": _export(lambda i, d: d == 0),
    "export, dynamic sizes": _export(lambda i, d: d > 0),
    "fake tensors": fake,
}
if find_spec("onnxruntime"):
    TRACERS["ONNX"] = onnx
