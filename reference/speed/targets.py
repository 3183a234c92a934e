"""The targets: each row of the table once, as data, and how far it is from being met."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from reference.speed.measure import Measurement
from reference.speed.statistics import differences, geometric_mean, spread
from reference.speed.workload import DEFAULT, Candidate
from reference.speed.workloads.activations import ALONG_A_DIMENSION, BY_ELEMENT
from reference.speed.workloads.convolution import LARGE, convolution_in_words
from reference.speed.workloads.losses import SCORES, TOKENS, unfused_in_words
from reference.speed.workloads.recurrent import GATES, LONG, sequence_in_words
from reference.speed.workloads.sized import ELEMENTS, TINY, in_words
from reference.speed.workloads.steps import ONE_BATCH, SMALL_AND_LARGE

__all__ = ["TARGETS", "Target", "Verdict", "judge", "needed"]

Key = tuple[str, str]
OURS, THEIRS = DEFAULT
COMPILED = Candidate("custom", compiled=True), Candidate("builtin", compiled=True)


@dataclass(frozen=True)
class Target:
    """One row.

    Attributes:
        what: the work, in words.
        limit: the figure that is not to be exceeded.
        keys: op and size of the workloads it is made of.
        each: the figure of one of them.
        over: makes one figure of all: their geometric mean, the largest, or the median.
        unit: of the figure; a ratio has none.
        compiled: whether it needs both sides under `torch.compile`.
        memory: whether it is about the bytes kept by every op, for which nothing is timed.
    """

    what: str
    limit: float
    keys: tuple[Key, ...]
    each: Callable[[Measurement], float]
    over: Callable[[Sequence[float]], float] = geometric_mean
    unit: str = ""
    compiled: bool = False
    memory: bool = False


@dataclass(frozen=True)
class Verdict:
    """What became of a row: the figure, or why there is none."""

    target: Target
    figure: float | None
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the figure was measured and is within the limit."""
        return self.figure is not None and self.figure <= self.target.limit

    @property
    def word(self) -> str:
        """The verdict in a word or two."""
        return "not measured" if self.figure is None else "met" if self.met else "falls short"


def time_ratio(found: Measurement) -> float:
    """Our time over the built-in's, forward and backward."""
    return found.ratio(OURS, THEIRS).middle


def compiled_ratio(found: Measurement) -> float:
    """The same of both under `torch.compile`."""
    return found.ratio(*COMPILED).middle


def best_layout_ratio(found: Measurement) -> float:
    """Our time over the built-in's in whichever layout is its fastest."""
    return found.ratio(OURS, found.best("builtin")).middle


def peak_ratio(found: Measurement) -> float:
    """The memory we hold at most, over the built-in's."""
    return found.memory["custom"].peak / found.memory["builtin"].peak


def saved_ratio(found: Measurement) -> float:
    """Bytes kept for the backward beyond inputs and outputs, over the built-in's; 0 where we keep none."""
    ours, theirs = found.memory["custom"].beyond, found.memory["builtin"].beyond
    return 0.0 if not ours else math.inf if not theirs else ours / theirs


def overhead(found: Measurement, phase: str = "forward") -> float:
    """Microseconds that a phase takes beyond the built-in's; by default a call, its gradient recorded."""
    return 1e6 * differences(found.times[OURS].of(phase), found.times[THEIRS].of(phase)).middle


def overhead_both(found: Measurement) -> float:
    """Microseconds that a call and its backward take beyond the built-in's."""
    return overhead(found, "both")


def median(values: Sequence[float]) -> float:
    """The figure in the middle."""
    return spread(values).middle


def _each(ops: Iterable[str], *sizes: str) -> tuple[Key, ...]:
    return tuple((op, size) for op in ops for size in sizes)


def _activations(shape: tuple[int, ...]) -> tuple[Key, ...]:
    return tuple((op, in_words(shape, **options)) for op, options in BY_ELEMENT.items())


CNN = (("cnn step", ONE_BATCH),)
LANGUAGE_MODEL = _each(["linear_cross_entropy"], unfused_in_words(*TOKENS[-1]))

TARGETS = (
    Target("MNIST CNN, whole step, batch 128, against the default layout", 0.60, CNN, time_ratio),
    Target("the same, against the best layout", 0.90, CNN, best_layout_ratio),
    Target(
        "conv2d of three sizes, against the default layout",
        0.85,
        _each(["conv2d"], *(convolution_in_words(*sizes) for sizes in LARGE)),
        time_ratio,
    ),
    Target("MLP 784-512-256-10, whole step, batch 128", 1.05, (("mlp step", ONE_BATCH),), time_ratio),
    Target(
        "LSTM, GRU, RNN over two sizes of sequences",
        1.20,
        _each(GATES, *(sequence_in_words(*sizes) for sizes in LONG)),
        time_ratio,
    ),
    Target("elementwise activations of 4 million elements", 1.40, _activations(ELEMENTS[-1]), time_ratio),
    Target(
        "the same, both under torch.compile",
        1.00,
        _activations(ELEMENTS[-1]),
        compiled_ratio,
        compiled=True,
    ),
    Target(
        "softmax, log-softmax, cross entropy at (8192, 1000) and (128, 10)",
        1.30,
        (
            *_each(("softmax", "log_softmax"), *(in_words(shape, dim=-1) for shape in ALONG_A_DIMENSION[1:])),
            *_each(["cross_entropy"], *map(in_words, SCORES)),
        ),
        time_ratio,
    ),
    Target(
        "linear cross entropy, 4096 × 512 × 32,000: time",
        1.00,
        LANGUAGE_MODEL,
        time_ratio,
    ),
    Target("the same: peak memory", 0.25, LANGUAGE_MODEL, peak_ratio),
    Target(
        "batch norm, layer norm, max pooling at MNIST-CNN sizes",
        1.20,
        (
            ("batch_norm", in_words((128, 32, 26, 26), training=True)),
            ("batch_norm", in_words((128, 64, 24, 24), training=True)),
            ("layer_norm", in_words((128, 128))),
            ("max_pool2d", in_words((128, 64, 24, 24))),
        ),
        time_ratio,
    ),
    Target(
        "SGD with momentum, 100 small and one of 10 million",
        0.90,
        _each(["SGD"], SMALL_AND_LARGE),
        time_ratio,
    ),
    Target(
        "bytes kept beyond inputs and outputs, of the op that keeps most", 1.00, (), saved_ratio, max, memory=True
    ),
    Target("a call on 4 elements, median of activations", 20.0, _activations(TINY), overhead, median, unit=" µs"),
    Target("the same, with its backward", 20.0, _activations(TINY), overhead_both, median, unit=" µs"),
)


def needed(targets: Iterable[Target]) -> set[Key]:
    """The workloads that have to be timed."""
    return {key for target in targets for key in target.keys}


def judge(target: Target, found: Mapping[Key, Measurement], refused: Mapping[Key, str], compiled: bool) -> Verdict:
    """The row's verdict; without one of its workloads it has no figure, for the others would flatter it.

    Args:
        target: the row.
        found: what was measured, by op and size; for the row about memory, all of it counts.
        refused: why something was not, by op and size.
        compiled: whether the measurements are of compiled code as well.
    """
    if target.compiled and not compiled:
        return Verdict(target, None, "asks for --compile")
    for key in target.keys:
        if key in refused:
            return Verdict(target, None, refused[key])
    figures = {key: target.each(found[key]) for key in target.keys or found}
    ordered = sorted(figures, key=lambda key: figures[key])
    said = [f"{figures[key]:.2f} {' '.join(key)}" for key in dict.fromkeys((ordered[0], *ordered[-2:]))]
    return Verdict(target, target.over(list(figures.values())), "; ".join(said) if len(ordered) > 1 else "")
