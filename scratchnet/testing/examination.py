"""One call under examination: both sides, what they recorded, and what was found of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, cached_property, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from scratchnet.testing.comparison import Finding
from scratchnet.testing.findings import Findings, in_words
from scratchnet.testing.offers import lacking
from scratchnet.testing.quantities import Quantities, Recording, choose_upstreams, like
from scratchnet.testing.subject import Call, Subject, continuous, widest
from scratchnet.testing.tolerances import same_bits

__all__ = ["Examination", "Upstream", "summary"]


# What a function need not take, whatever its error says, where no built-in shows that it can be done.
OPTIONAL = ("forward_mode", "forward_over_reverse", "vmap", "vmap_each", "compile")
# What a Function claims by methods of its own; where none does, only torch's operations can refuse it.
BY_METHODS: dict[str, Callable[[Any], bool]] = {
    "forward_mode": lambda cls: cls.jvp is not torch.autograd.Function.jvp,
    "vmap": lambda cls: cls.generate_vmap_rule or cls.vmap is not torch.autograd.Function.vmap,
    "double_backward": lambda cls: True,
}
BY_METHODS |= {
    "vmap_each": BY_METHODS["vmap"],
    "forward_over_reverse": BY_METHODS["double_backward"],
    "third_derivative": BY_METHODS["double_backward"],
}
# Checks on inputs that the caller did not give, which a function need not take.
OTHER_INPUTS = ("autocast", "dtypes", "empty")


class Upstream(NamedTuple):
    """Upstream gradients of all differentiable outputs, by name, and the same in float64 for the truth."""

    kind: str
    given: list[Tensor | None]
    wide: list[Tensor | None] | None


class Examination:
    """A call of the custom function and of the built-in, on which checks are made.

    Attributes:
        ours: the custom side.
        theirs: the built-in side.
        call: the arguments.
        truth: the arguments in float64, None where they are so already.
        findings: what was found, by all examinations that belong together.
        backend: of `torch.compile`.
        numerical: whether the built-in side is made of finite differences.
        prefix: of the names of what is found, where the call was derived from another.
        origin: the examination that this one was derived from, or itself.
    """

    def __init__(
        self,
        ours: Subject,
        theirs: Subject,
        call: Call,
        findings: Findings,
        backend: str = "inductor",
        numerical: bool = False,
        prefix: str = "",
    ) -> None:
        self.ours, self.theirs, self.call, self.findings = ours, theirs, call, findings
        self.backend, self.numerical, self.prefix = backend, numerical, prefix
        self.origin = self
        short = any(continuous(x) and x.dtype not in (torch.float64, torch.complex128) for x in call.tensors())
        self.truth = call.to(torch.float64) if short else None
        self._recordings: dict[tuple[int, int], Recording] = {}
        self._moved: dict[tuple[int, float], Call] = {}  # kept, since recordings are known by their identity

    def on(self, call: Call, prefix: str, ours: Subject | None = None) -> Examination:
        """The same sides on another call, whose findings have a prefix."""
        side = ours or self.ours
        derived = Examination(side, self.theirs, call, self.findings, self.backend, self.numerical, f"{prefix}: ")
        derived.origin = self.origin
        return derived

    def recording(self, subject: Subject, at: Call) -> Recording:
        """A forward pass of one side, recorded once for all that is derived from it."""
        key = id(subject), id(at)
        if key not in self._recordings:
            self._recordings[key] = Recording(subject, at)
        return self._recordings[key]

    @cached_property
    def upstreams(self) -> list[Upstream]:
        """Random and hostile upstreams for the outputs of the built-in."""
        found = choose_upstreams(self.recording(self.theirs, self.call), self.call.seed, self.places)
        return [
            Upstream(
                kind, given, None if self.truth is None else [u if u is None else u.to(widest(u)) for u in given]
            )
            for kind, given in found
            if not self.findings.kinds or kind in self.findings.kinds
        ]

    def upstreams_of(self, kinds: Collection[str]) -> list[Upstream]:
        """Returns the upstreams of these kinds, or all of them if the user chose the kinds."""
        return [u for u in self.upstreams if self.findings.kinds or u.kind in kinds]

    def moved(self, seed: int = 0, step: float = 0.0) -> Call | None:
        """The arguments in float64, each moved by one rounding of its own dtype, up or down, or by a normal step."""
        if self.numerical:
            return None
        if (seed, step) in self._moved:
            return self._moved[seed, step]
        exact = self.truth or self.call
        generator = torch.Generator().manual_seed(self.call.seed + 5 + seed)

        def off(x: Tensor, short: Tensor) -> Tensor:
            signs = torch.randint(2, x.shape, generator=generator).to(x.device).double() * 2 - 1
            by = step * like(x, generator) if step else x.detach() * signs * torch.finfo(short.dtype).eps
            return (x.detach() + by).requires_grad_()

        pairs = zip(exact.leaves(), self.call.leaves(), strict=True)
        self._moved[seed, step] = exact.with_leaves([off(x, short) for x, short in pairs])
        return self._moved[seed, step]

    @cached_property
    def places(self) -> list[int]:
        """The places of the outputs that have gradients: the built-in's, or, where there is none, the function's."""
        return self.recording(self.ours if self.numerical else self.theirs, self.call).differentiable

    @cached_property
    def random(self) -> bool:
        """Whether the built-in draws random numbers."""
        return self.recording(self.theirs, self.call).draws

    def watched(self) -> list[Tensor]:
        """The tensors that no pass may change."""
        return [x.detach() for x in self.call.leaves()]

    def weigh(
        self, make: Callable[[Subject, Call], Quantities], what: str, upstream: Upstream | None = None
    ) -> bool:
        """Computes a quantity on both sides, and adds every tensor in it to the findings; false if one side failed."""
        kind = upstream.kind if upstream else ""
        what = self.prefix + what
        expected = _attempt(lambda: make(self.theirs, self.call))
        failed = isinstance(expected, Exception)
        # Differences are of the function's own calls, which may lack something.
        if failed and not (self.numerical and lacking(expected, self.ours.is_operator)):
            if self.numerical:
                self.findings.add(what, "not compared", summary(expected))
            else:
                self.findings.add(what, "not compared", lacks=summary(expected))
            return False
        got = expected if failed else _attempt(lambda: make(self.ours, self.call))
        if isinstance(got, Exception):
            missing = lacking(got, self.ours.is_operator)
            if missing is None and not self._claims(self.findings.check):
                missing = summary(got)
            # Other dtypes are looked at in forward mode too, which has a keyword of its own.
            check = "forward_mode" if what.endswith("forward mode") else self.findings.check
            if missing is None or check in self.findings.required:
                said = summary(got) if missing is None else missing
                self.findings.add(what, "raises", said, in_words(kind), examination=self)
            else:
                self.findings.add(what, "not offered", missing)
            return False
        truth = self.truth
        true = _attempt(lambda: make(self.theirs, truth)) if truth is not None else {}
        wide = {} if isinstance(true, Exception) else true

        @cache
        def on_moved_inputs(*how: Any) -> Quantities:
            at = self.moved(*how)
            found = {} if at is None else _attempt(lambda: make(self.theirs, at))
            return {} if isinstance(found, Exception) else found

        for name in expected | got:
            moved = partial(lambda name, *how: on_moved_inputs(*how).get(name), name)
            found = Finding(kind, got.get(name), expected.get(name), wide.get(name), moved=moved)
            self.findings.take(self.prefix + name, found, self)
        return True

    def _claims(self, check: str) -> bool:
        """Whether an error in a check is the function's own: it has methods for it, or nothing can do without it."""
        if check in (*OTHER_INPUTS, *(OPTIONAL if self.numerical else ())):
            return False
        return check not in BY_METHODS or any(map(BY_METHODS[check], self._functions))

    @cached_property
    def _functions(self) -> set[Any]:
        """The Functions that the call of the custom side recorded."""
        seen, waiting = set(), [y.grad_fn for y in self.recording(self.ours, self.call).outputs]
        while waiting:
            node = waiting.pop()
            if node is not None and node not in seen:
                seen.add(node)
                waiting += [below for below, _ in node.next_functions]
        return {getattr(type(node), "_forward_cls", None) for node in seen if isinstance(node, BackwardCFunction)}

    def weigh_gradients(self, upstream: Upstream) -> bool:
        """Weighs the gradients of the recorded forward passes under an upstream."""

        def make(subject: Subject, at: Call, given: Sequence[Tensor | None]) -> Quantities:
            return self.recording(subject, at).gradients(given)

        return self.weigh(self.under(make, upstream), "gradient", upstream)

    def under(self, make: Callable[..., Quantities], upstream: Upstream) -> Callable[[Subject, Call], Quantities]:
        """A quantity that needs upstreams, with those that belong to the call."""
        wide = upstream.wide or upstream.given
        return lambda subject, at: make(subject, at, upstream.given if at is self.call else wide)

    @contextmanager
    def unchanged(
        self, what: str, tensors: Sequence[Tensor | None], names: Sequence[str], kind: str
    ) -> Iterator[None]:
        """Notes whether tensors keep their values meanwhile, and gives changed ones their values back."""
        present = [(name, t) for name, t in zip(names, tensors, strict=True) if t is not None]
        before = [t.clone() for _, t in present]
        yield
        changed = [(name, t, old) for (name, t), old in zip(present, before, strict=True) if not same_bits(t, old)]
        for _, tensor, old in changed:
            own = tuple(slice(None) if stride else slice(1) for stride in tensor.stride())
            tensor[own].copy_(old[own])
        if changed:
            said = "overwrites " + ", ".join(name for name, _, _ in changed)
            self.findings.add(self.prefix + what, "differs", said, in_words(kind), examination=self)
        else:
            self.findings.add(self.prefix + what, "exact")


def _attempt(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except Exception as error:  # whatever a function raises is what there is to report
        return error


def summary(error: Exception) -> str:
    """The kind of an error and the first line of its message."""
    said = re.sub(r" \(with implementation in .*?\)", "", str(error))
    first = next((line.strip() for line in said.splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first}"[:160]
