"""Tries one model: converts it, trains it in step with the original, and looks for PyTorch's kernels."""

from __future__ import annotations

import copy
import math
import random
import statistics
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy
import torch
from torch import Tensor, nn
from torch.nn import functional

from reference.catalog.hard import hardsigmoid_with_exact_slope
from reference.zoo.entry import Entry, Subject
from scratchnet.conversion import convert
from scratchnet.inspection import purity, tensors
from scratchnet.interception import intercept
from scratchnet.testing.subject import mapped

__all__ = ["GROUPS", "Trial", "attempt"]

TOLERANCE = 1e-9
# An ill-conditioned network may differ by as many times what one unit in the last place of its parameters changes.
REACH = 10.0
GROUPS = ("outputs, loss", "gradients", "second step", "state")


@dataclass(frozen=True)
class Trial:
    """The result of trying a model.

    Attributes:
        name: the entry's.
        verdict: ``"equal"``, ``"ill-conditioned"`` where it is equal by the rule for these, ``"differs"``, ``"fails"``
            where the converted model alone raises, or ``"not run"``.
        reason: an error's message, or why it was not run.
        parameters: how many numbers.
        differences: the largest difference of each group, relative to the largest element of the tensor, or to a
            thousandth of the largest of the group where that is more.
        reach: the same between two runs of the original, one with each parameter changed by one unit in the last
            place; measured where ours differs.
        kernels: PyTorch's neural-network kernels that still ran.
        left: why modules were left, by name.
        ratio: time of a training step of ours, over the original's.
    """

    name: str
    verdict: str
    reason: str = ""
    parameters: int = 0
    differences: dict[str, float] = field(default_factory=dict)
    reach: dict[str, float] = field(default_factory=dict)
    kernels: tuple[str, ...] = ()
    left: dict[str, str] = field(default_factory=dict)
    ratio: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the model was equal and pure, or not run."""
        return self.verdict in ("equal", "ill-conditioned", "not run") and not self.kernels


def attempt(entry: Entry, limit: float = math.inf, rounds: int = 3) -> Trial:
    """Tries a model in training mode and float64, unless it has more parameters than the limit.

    Ours and the original take two steps of SGD from the same state and random numbers, and then as many rounds again
    for the time. Code that names float32 gets float64 on both sides: its rounding would hide what differs.
    """
    with warnings.catch_warnings(), _in_float64():
        warnings.simplefilter("ignore")
        count = 0
        try:
            torch.manual_seed(0)
            subject = entry.make()
            count = sum(p.numel() for p in subject.model.parameters())
            if count > limit:
                return Trial(
                    entry.name, "not run", f"{count / 1e6:.0f} M parameters are more than the limit", count
                )
            theirs = _Side(subject)
            first = theirs.step(0)
        except Exception as error:  # whatever a model of someone else's raises
            return Trial(entry.name, "not run", _line(error), count)
        if not all(y.isfinite().all() for group in first.values() for y in group if y is not None):
            return Trial(entry.name, "not run", "its outputs or gradients are not finite", count)
        try:
            ours = _Side(subject, converted=True)
            kernels = ours.kernels()
            differences = _compare(ours, theirs, first)
            for _ in range(rounds):
                ours.step(0), theirs.step(0)
        except Exception as error:
            return Trial(entry.name, "fails", _line(error), count)
        reach = {}
        if max(differences.values()) > TOLERANCE:
            again = _Side(subject)
            reach = _compare(_Side(subject, moved=True), again, again.step(0))
        ratio = statistics.median(ours.seconds[1:]) / statistics.median(theirs.seconds[1:])
        verdict = _verdict(differences, reach)
        return Trial(entry.name, verdict, "", count, differences, reach, kernels, ours.left, ratio)


def _verdict(differences: dict[str, float], reach: dict[str, float]) -> str:
    if not reach:
        return "equal"
    near = all(differences[group] <= max(TOLERANCE, REACH * reach[group]) for group in GROUPS)
    return "ill-conditioned" if near else "differs"


class _Side:
    """A copy of a model in training."""

    def __init__(self, subject: Subject, converted: bool = False, moved: bool = False) -> None:
        self.model = copy.deepcopy(subject.model).double().train()
        self.inputs, self.options = (mapped(_double, given) for given in (subject.inputs, subject.options))
        self.left: dict[str, str] = {}
        self.context: AbstractContextManager[Any] = mock.patch.object(functional, "hardsigmoid", _hardsigmoid)
        if moved:
            _move(self.model)
        if converted:
            self.left, self.context = convert(self.model).left, intercept()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)
        self.seconds: list[float] = []

    def step(self, seed: int) -> dict[str, list[Tensor | None]]:
        """Takes a step of SGD, and returns the outputs, the loss and the gradients."""
        for seeded in (torch.manual_seed, numpy.random.seed, random.seed):  # for dropout and random depth
            seeded(seed)
        self.optimizer.zero_grad()
        inputs, options = self._given()
        with self.context:
            start = time.perf_counter()
            outputs = [
                y for y in tensors(self.model(*inputs, **options)) if y.is_floating_point() and y.requires_grad
            ]
            generator = torch.Generator().manual_seed(seed)
            loss = sum((_loss(y, torch.randn(y.shape, generator=generator)) for y in outputs), torch.zeros(()))
            loss.backward()
            self.optimizer.step()
            self.seconds.append(time.perf_counter() - start)
        gradients = [p.grad for p in self.model.parameters()]
        return {"outputs, loss": [y.detach() for y in (*outputs, loss)], "gradients": gradients}

    def state(self) -> list[Tensor]:
        return [*self.model.parameters(), *self.model.buffers()]

    def kernels(self) -> tuple[str, ...]:
        inputs, options = self._given()
        with self.context:
            found = purity(self.model, *inputs, **options)
        return tuple(f"{k.name} in {k.module or 'the model'} ({k.phase})" for k in found.kernels)

    def _given(self) -> tuple[Any, Any]:
        """The inputs on memory of their own, since some models overwrite them."""
        return mapped(_copied, self.inputs), mapped(_copied, self.options)


def _loss(output: Tensor, target: Tensor) -> Tensor:
    """Returns the loss of an output, and what is a number as it is: detectors return losses."""
    return functional.huber_loss(output, target) if output.dim() else output


def _compare(ours: _Side, theirs: _Side, first: dict[str, list[Tensor | None]]) -> dict[str, float]:
    """Takes two steps, and returns the largest difference of each group; ``first`` is the first step of theirs."""
    found = {group: _distance(own, first[group]) for group, own in ours.step(0).items()}
    second = theirs.step(1)
    found["second step"] = max(_distance(own, second[group]) for group, own in ours.step(1).items())
    return found | {"state": _distance(ours.state(), theirs.state())}


def _distance(ours: Sequence[Tensor | None], theirs: Sequence[Tensor | None]) -> float:
    """Returns the largest difference, relative to each tensor's largest element or a thousandth of the group's."""
    least = 1e-3 * max((_largest(y) for y in theirs if y is not None), default=0.0)
    found = 0.0
    for own, other in zip(ours, theirs, strict=True):
        if own is None or other is None or own.shape != other.shape:
            found = max(found, 0.0 if own is other else math.inf)
        elif own.numel() and not torch.equal(own, other):
            scale = max(least, _largest(other)) or 1.0
            found = max(found, _largest(own.double() - other.double()) / scale)
    return found


def _largest(x: Tensor) -> float:
    """Returns the largest magnitude; infinity where one is not finite."""
    largest = float(x.detach().double().abs().max()) if x.numel() else 0.0
    return largest if math.isfinite(largest) else math.inf


@torch.no_grad()
def _move(model: nn.Module) -> None:
    """Changes each parameter by one unit in the last place, up or down."""
    generator = torch.Generator().manual_seed(0)
    for p in model.parameters():
        up = torch.rand(p.shape, generator=generator) < 0.5
        p.copy_(torch.nextafter(p, torch.where(up, math.inf, -math.inf)))


@contextmanager
def _in_float64() -> Iterator[None]:
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with (
            mock.patch.object(torch, "float32", torch.float64),
            mock.patch.object(torch, "float", torch.float64),
            mock.patch.object(Tensor, "float", Tensor.double),
        ):
            yield
    finally:
        torch.set_default_dtype(default)


def _hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    return hardsigmoid_with_exact_slope(input)


def _double(x: Any) -> Any:
    return x.double() if isinstance(x, Tensor) and x.is_floating_point() else x


def _copied(x: Any) -> Any:
    """A tensor on memory of its own, since some models overwrite their inputs."""
    return x.clone() if isinstance(x, Tensor) else x


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
