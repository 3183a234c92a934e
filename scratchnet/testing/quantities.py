"""Computes the quantities of a call that are compared, by name, alike for the custom and the built-in side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from scratchnet.testing.offers import RecordsNoGraph
from scratchnet.testing.pullback import vjp
from scratchnet.testing.subject import Call, Subject, differentiable, mapped, widest
from scratchnet.testing.upstreams import upstreams

__all__ = [
    "Quantities",
    "Recording",
    "choose_upstreams",
    "forward_mode",
    "forward_over_reverse",
    "fresh",
    "like",
    "outputs_of",
    "over_batches",
    "own_constants",
]

Quantities = dict[str, Tensor | None]


def fresh(call: Call) -> Call:
    """The call on leaves of its own, which keep their strides, and copies of all else that might be written to."""
    return own_constants(call).with_leaves([x.detach().requires_grad_() for x in call.leaves()])


def own_constants(call: Call) -> Call:
    """The call with copies of what is not differentiated, so that nothing the caller holds is written to."""

    def own(x: Any) -> Any:
        return x.detach().clone() if isinstance(x, Tensor) and not differentiable(x) else x

    def each(tensors: dict[str, Any]) -> dict[str, Any]:
        return {name: mapped(own, x) for name, x in tensors.items()}

    inputs = mapped(own, call.inputs)
    return Call(inputs, each(call.options), each(call.parameters), each(call.buffers), call.seed)


class Recording:
    """A forward pass with its graph, from which gradients are taken under one upstream after the other.

    Attributes:
        call: the arguments, on leaves of their own.
        outputs: everything the function returns.
        differentiable: the places of the outputs that a gradient can come back through.
        draws: whether the pass consumed random numbers.
    """

    def __init__(self, subject: Subject, call: Call) -> None:
        self.call = fresh(call)
        self.outputs, self.draws = subject.watched_run(self.call)
        self.differentiable = [i for i, y in enumerate(self.outputs) if differentiable(y)]

    def forward(self) -> Quantities:
        """The outputs, and the buffers and constant inputs as the call left them."""
        found = outputs_of(self.outputs)
        constants = {
            i: x for i, x in enumerate(self.call.inputs) if isinstance(x, Tensor) and not differentiable(x)
        }
        found |= {f"input {i} afterwards": _dense(x) for i, x in constants.items()}
        return found | {f"buffer {name} afterwards": b for name, b in self.call.buffers.items()}

    def gradients(self, upstream: Sequence[Tensor | None]) -> Quantities:
        """The gradient of each input and parameter."""
        outputs, given = self._matched(upstream)
        leaves = self.call.leaves()
        grads: Sequence[Tensor | None] = [None] * len(leaves)
        if outputs and leaves:
            grads = torch.autograd.grad(outputs, leaves, given, retain_graph=True, allow_unused=True)
        return dict(zip((f"gradient of {name}" for name in self.call.names()), map(_dense, grads), strict=True))

    def higher(self, upstream: Sequence[Tensor | None], order: int = 2) -> Quantities:
        """The gradients of a random combination of the gradients, of inputs, parameters and upstream.

        Of the third order, a random combination of those is differentiated once more.
        """
        outputs, given = self._matched([None if u is None else u.clone().requires_grad_() for u in upstream])
        several = len(given) > 1
        names = [*self.call.names(), *(f"upstream {i}" if several else "upstream" for i in range(len(given)))]
        targets = [*self.call.leaves(), *given]
        found: Sequence[Tensor | None] = torch.autograd.grad(
            outputs, self.call.leaves(), given, create_graph=True, retain_graph=True, allow_unused=True
        )
        for i in range(1, order):
            generator = torch.Generator().manual_seed(self.call.seed + i)
            recorded = [g for g in found if g is not None and g.requires_grad]
            if i == 1 and not recorded and any(g is not None and g.numel() for g in found):
                raise RecordsNoGraph("the gradient records no graph, so that it cannot be differentiated again")
            if i == 1 and any(map(_refuses, recorded)):
                raise RecordsNoGraph("the backward is once_differentiable")
            weights = [like(g, generator) for g in recorded]
            found = [None] * len(targets)
            if recorded:
                last = i == order - 1
                found = torch.autograd.grad(
                    recorded, targets, weights, create_graph=not last, retain_graph=True, allow_unused=True
                )
        title = "double backward" if order == 2 else "third derivative"
        return dict(zip((f"{title} of {name}" for name in names), found, strict=True))

    def _matched(self, upstream: Sequence[Tensor | None]) -> tuple[list[Tensor], list[Tensor]]:
        """The differentiable outputs that have an upstream, and these upstreams."""
        places = [i for i, u in enumerate(upstream) if u is not None and i in self.differentiable]
        return [self.outputs[i] for i in places], [u for i in places if (u := upstream[i]) is not None]


def _refuses(gradient: Tensor) -> bool:
    """Whether the node that `once_differentiable` leaves, which raises, is in a graph: nothing leads through it."""
    seen, waiting = set(), [gradient.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if node.name() == "torch::autograd::Error":
            return True
        seen.add(node)
        waiting += [below for below, _ in node.next_functions]
    return False


def outputs_of(outputs: Sequence[Tensor | None], title: str = "output") -> Quantities:
    """The outputs by name, numbered where there are several."""
    several = len(outputs) > 1
    return {
        f"{title} {i}" if several else title: None if y is None else _dense(y.detach())
        for i, y in enumerate(outputs)
    }


def _dense(x: Tensor | None) -> Tensor | None:
    return x if x is None or x.layout is torch.strided else x.to_dense()


def choose_upstreams(
    recording: Recording, seed: int, places: Sequence[int] | None = None
) -> Iterator[tuple[str, list[Tensor | None]]]:
    """Yields upstreams for all outputs with gradients, or at the places given; each is also left out in turn."""
    generator = torch.Generator().manual_seed(seed)
    places = recording.differentiable if places is None else places
    offers = {i: dict(upstreams(recording.outputs[i].detach(), generator)) for i in places}

    def all_outputs(chosen: Mapping[int, Tensor]) -> list[Tensor | None]:
        return [chosen.get(i) for i in range(len(recording.outputs))]

    for name in next(iter(offers.values()), {}):
        yield name, all_outputs({i: offer.get(name, offer["random"]) for i, offer in offers.items()})
    if len(offers) > 1:
        for left in offers:
            chosen = {i: offer["random"] for i, offer in offers.items() if i != left}
            yield f"None for output {left}", all_outputs(chosen)


def forward_mode(subject: Subject, call: Call, places: Sequence[int]) -> Quantities:
    """The tangents of the outputs at the given places, along random tangents of all inputs and parameters.

    The primals are clones: a dual tensor must not be expanded over shared memory.
    """
    generator = torch.Generator().manual_seed(call.seed + 2)
    leaves = call.leaves()
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(x.detach().clone(), like(x, generator)) for x in leaves]
        outputs = subject.run(own_constants(call).with_leaves(duals))
        tangents = [forward_ad.unpack_dual(outputs[i]).tangent for i in places]
    if places and all(t is None for t in tangents):
        raise RecordsNoGraph("the outputs have no tangents")
    return outputs_of(tangents, "forward mode of output")


def forward_over_reverse(subject: Subject, call: Call, upstream: Sequence[Tensor | None]) -> Quantities:
    """The tangent of each gradient, along random tangents of all inputs and parameters."""
    generator = torch.Generator().manual_seed(call.seed + 3)
    leaves = tuple(x.detach().clone() for x in call.leaves())
    tangents = tuple(like(x, generator) for x in leaves)
    pull = _pullback(subject, call, upstream)
    found = torch.func.jvp(lambda *at: pull(*at)[1], leaves, tangents)[1]
    return dict(zip((f"forward over reverse of {name}" for name in call.names()), found, strict=True))


def _pullback(
    subject: Subject, call: Call, upstream: Sequence[Tensor | None]
) -> Callable[..., tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
    """A function of the leaves that returns the outputs that have an upstream, and the gradients."""
    places = [i for i, u in enumerate(upstream) if u is not None]
    usual = [u for u in upstream if u is not None]

    def run(*leaves: Tensor) -> tuple[Tensor, ...]:
        outputs = subject.run(own_constants(call).with_leaves(leaves))
        return tuple(outputs[i] for i in places)

    def pull(*leaves: Tensor, given: Sequence[Tensor] = usual) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        outputs, back = vjp(run, *leaves)
        return outputs, back(tuple(given))

    return pull


def over_batches(
    subject: Subject,
    call: Call,
    upstream: Sequence[Tensor | None],
    loop: bool = False,
    batched: int | None = None,
) -> Quantities:
    """Outputs and gradients of a stack of two calls, by `torch.func.vmap`, or by a loop, which it must equal.

    Args:
        subject: the side to call.
        call: the arguments of the first of the two.
        upstream: the upstreams of the first.
        loop: whether to loop.
        batched: the one input that is batched, by its number among the leaves; by default all are, and the
            upstreams with them.
    """
    each = [batched is None or i == batched for i in range(len(call.leaves()))]
    leaves = [
        torch.stack([x.detach(), 0.5 * x.detach()]) if b else x.detach()
        for x, b in zip(call.leaves(), each, strict=True)
    ]
    given = [torch.stack([u, -2 * u]) if batched is None else u for u in upstream if u is not None]
    pull = _pullback(subject, call, upstream)
    outputs_found = 0

    def once(leaves: Sequence[Tensor], given: Sequence[Tensor]) -> tuple[Tensor, ...]:
        nonlocal outputs_found
        outputs, grads = pull(*leaves, given=given)
        outputs_found = len(outputs)
        return (*outputs, *grads)

    if loop:
        rows = [
            once(
                [x[i] if b else x for x, b in zip(leaves, each, strict=True)],
                [u[i] if batched is None else u for u in given],
            )
            for i in range(2)
        ]
        found = [torch.stack(pair) for pair in zip(*rows, strict=True)]
    else:
        dims = ([0 if b else None for b in each], 0 if batched is None else None)
        found = list(torch.func.vmap(once, in_dims=dims, randomness="different")(leaves, given))
    several = outputs_found > 1
    names = [f"vmap of output {i}" if several else "vmap of output" for i in range(outputs_found)]
    names += [f"vmap of gradient of {name}" for name in call.names()]
    return dict(zip(names, found, strict=True))


def like(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Normal values of a tensor's shape, dtype and device."""
    values = torch.randn(tensor.shape, generator=generator, dtype=widest(tensor))
    return values.to(tensor.device, tensor.dtype)
