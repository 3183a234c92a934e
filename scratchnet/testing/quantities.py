"""What is compared of a call: each quantity by name, computed alike for the custom and the built-in side."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from scratchnet.testing.subject import Call, Subject, differentiable, mapped
from scratchnet.testing.upstreams import upstreams

__all__ = [
    "Quantities",
    "backward",
    "choose_upstreams",
    "compiled",
    "double_backward",
    "forward",
    "forward_mode",
    "over_batches",
]

Quantities = dict[str, Tensor | None]


def _plural(name: str, i: int, count: int) -> str:
    return name if count == 1 else f"{name} {i}"


def _grads(outputs: Sequence[Tensor]) -> list[Tensor]:
    return [y for y in outputs if y.is_floating_point() and y.requires_grad]


def fresh(call: Call) -> Call:
    """The call on leaves of its own, which keep their strides, and copies of all else that might be written to."""
    return _own_constants(call).with_leaves([x.detach().requires_grad_() for x in call.leaves()])


def _own_constants(call: Call) -> Call:
    def own(x: Any) -> Any:
        return x.detach().clone() if isinstance(x, Tensor) and not differentiable(x) else x

    def each(tensors: dict[str, Any]) -> dict[str, Any]:
        return {name: mapped(own, x) for name, x in tensors.items()}

    inputs = mapped(own, call.inputs)
    return Call(inputs, each(call.options), each(call.parameters), each(call.buffers), call.seed)


def forward(subject: Subject, call: Call) -> Quantities:
    """The outputs, and the buffers and constant inputs as the call leaves them."""
    call = fresh(call)
    outputs = subject.run(call)
    found: Quantities = {_plural("output", i, len(outputs)): y.detach() for i, y in enumerate(outputs)}
    constants = {i: x for i, x in enumerate(call.inputs) if isinstance(x, Tensor) and not differentiable(x)}
    found |= {f"input {i} afterwards": x for i, x in constants.items()}
    return found | {f"buffer {name} afterwards": b for name, b in call.buffers.items()}


def choose_upstreams(subject: Subject, call: Call) -> Iterator[tuple[str, list[Tensor | None]]]:
    """Upstreams for all differentiable outputs at once; of several outputs, each is also left out in turn."""
    generator = torch.Generator().manual_seed(call.seed)
    outputs = _grads(subject.run(fresh(call)))
    if not outputs:
        return
    offers = [dict(upstreams(y.detach(), generator)) for y in outputs]
    for name in offers[0]:
        yield name, [offer.get(name, offer["random"]) for offer in offers]
    if len(outputs) > 1:
        for i in range(len(outputs)):
            yield f"None for output {i}", [None if i == j else o["random"] for j, o in enumerate(offers)]


def backward(subject: Subject, call: Call, upstream: Sequence[Tensor | None]) -> Quantities:
    """The gradient of each input and parameter."""
    call = fresh(call)
    outputs, given = _matched(subject, call, upstream)
    grads = torch.autograd.grad(outputs, call.leaves(), given, allow_unused=True)
    return dict(zip((f"gradient of {name}" for name in call.names()), grads, strict=True))


def double_backward(subject: Subject, call: Call, upstream: Sequence[Tensor | None]) -> Quantities:
    """The gradients of a random combination of the gradients, of inputs, parameters and upstream."""
    call = fresh(call)
    outputs, given = _matched(subject, call, [None if u is None else u.clone().requires_grad_() for u in upstream])
    first = torch.autograd.grad(outputs, call.leaves(), given, create_graph=True, allow_unused=True)
    generator = torch.Generator().manual_seed(call.seed + 1)
    targets = [*call.leaves(), *given]
    names = [*call.names(), *(_plural("upstream", i, len(given)) for i in range(len(given)))]
    recorded = [g for g in first if g is not None and g.requires_grad]
    weights = [_like(g, generator) for g in recorded]
    second: Sequence[Tensor | None] = [None] * len(targets)
    if recorded:
        second = torch.autograd.grad(recorded, targets, weights, allow_unused=True)
    return dict(zip((f"double backward of {name}" for name in names), second, strict=True))


def forward_mode(subject: Subject, call: Call) -> Quantities:
    """The tangent of each output, along random tangents of all inputs and parameters.

    The primals are clones: a dual tensor must not be expanded over shared memory.
    """
    generator = torch.Generator().manual_seed(call.seed + 2)
    leaves = call.leaves()
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(x.detach().clone(), _like(x, generator)) for x in leaves]
        outputs = subject.run(_own_constants(call).with_leaves(duals))
        tangents = [forward_ad.unpack_dual(y).tangent for y in outputs if y.is_floating_point()]
    return {f"forward mode of {_plural('output', i, len(tangents))}": t for i, t in enumerate(tangents)}


def over_batches(
    subject: Subject, call: Call, upstream: Sequence[Tensor | None], loop: bool = False
) -> Quantities:
    """Outputs and gradients of a stack of two calls, by `torch.func.vmap`, or by a loop, which it must equal."""
    leaves = [torch.stack([x.detach(), 0.5 * x.detach()]) for x in call.leaves()]
    given = [torch.stack([u, -2 * u]) for u in upstream if u is not None]
    outputs_found = 0

    def run(*leaves: Tensor) -> tuple[Tensor, ...]:
        return tuple(y for y in subject.run(_own_constants(call).with_leaves(leaves)) if y.is_floating_point())

    def once(leaves: Sequence[Tensor], given: Sequence[Tensor]) -> tuple[Tensor, ...]:
        nonlocal outputs_found
        outputs, pull, *_ = torch.func.vjp(run, *leaves)
        outputs_found = len(outputs)
        return (*outputs, *pull(tuple(given)))

    if loop:
        each = [once([x[i] for x in leaves], [u[i] for u in given]) for i in range(2)]
        found = [torch.stack(pair) for pair in zip(*each, strict=True)]
    else:
        found = list(torch.func.vmap(once, randomness="different")(leaves, given))
    names = [f"vmap of {_plural('output', i, outputs_found)}" for i in range(outputs_found)]
    names += [f"vmap of gradient of {name}" for name in call.names()]
    return dict(zip(names, found, strict=True))


def compiled(subject: Subject, call: Call, upstream: Sequence[Tensor | None], backend: str | None) -> Quantities:
    """Outputs and gradients under `torch.compile` without graph breaks, or, without a backend, as they are."""
    if backend is not None:
        torch._dynamo.reset()
        subject = _compiled(subject, backend)
    found = {**forward(subject, call), **backward(subject, call, upstream)}
    return {f"compiled {name}": tensor for name, tensor in found.items()}


def _compiled(subject: Subject, backend: str) -> Subject:
    if not isinstance(subject.function, torch.nn.Module):
        return Subject(torch.compile(subject.function, fullgraph=True, backend=backend))
    module = copy.copy(subject.function)  # shares the parameters, in whose place the call's own come
    module.forward = torch.compile(module.forward, fullgraph=True, backend=backend)
    return Subject(module)


def _matched(subject: Subject, call: Call, upstream: Sequence[Tensor | None]) -> tuple[list[Tensor], list[Tensor]]:
    """The differentiable outputs that have an upstream, and these upstreams."""
    outputs = _grads(subject.run(call))
    pairs = [(y, u) for y, u in zip(outputs, upstream, strict=True) if u is not None]
    return [y for y, _ in pairs], [u for _, u in pairs]


def _like(tensor: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor.device, tensor.dtype)
