"""Performance targets as data, and the verdict on each."""

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
    """One row of the table of targets.

    Attributes:
        what: A description of the work.
        limit: The largest figure that meets the target.
        keys: Op and size of each workload that is measured.
        each: Computes the figure of one workload.
        over: Reduces the figures to one: their geometric mean, maximum or median.
        unit: The unit of the figure; a ratio has none.
        compiled: Whether both sides run under `torch.compile`.
        memory: Whether the figure counts the bytes that each op saves, for which nothing is timed.
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
    """A target's figure, or the reason why there is none."""

    target: Target
    figure: float | None
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the figure was measured and is within the limit."""
        return self.figure is not None and self.figure <= self.target.limit

    @property
    def word(self) -> str:
        return "not measured" if self.figure is None else "met" if self.met else "falls short"


def time_ratio(found: Measurement) -> float:
    """Returns our time over the built-in's, forward and backward."""
    return found.ratio(OURS, THEIRS).middle


def compiled_ratio(found: Measurement) -> float:
    """Returns `time_ratio` with both sides under `torch.compile`."""
    return found.ratio(*COMPILED).middle


def best_layout_ratio(found: Measurement) -> float:
    """Returns our time over the built-in's in the layout where the built-in is fastest."""
    return found.ratio(OURS, found.best("builtin")).middle


def peak_ratio(found: Measurement) -> float:
    """Returns our peak memory over the built-in's."""
    return found.memory["custom"].peak / found.memory["builtin"].peak


def saved_ratio(found: Measurement) -> float:
    """Returns the ratio of bytes saved beyond inputs and outputs; 0 if ours saves none."""
    ours, theirs = found.memory["custom"].beyond, found.memory["builtin"].beyond
    return 0.0 if not ours else math.inf if not theirs else ours / theirs


def overhead(found: Measurement, phase: str = "forward") -> float:
    """Returns the microseconds that a phase takes beyond the built-in's."""
    return 1e6 * differences(found.times[OURS].of(phase), found.times[THEIRS].of(phase)).middle


def overhead_both(found: Measurement) -> float:
    """Returns the microseconds that a call and its backward take beyond the built-in's."""
    return overhead(found, "both")


def median(values: Sequence[float]) -> float:
    return spread(values).middle


def _each(ops: Iterable[str], *sizes: str) -> tuple[Key, ...]:
    return tuple((op, size) for op in ops for size in sizes)


def _activations(shape: tuple[int, ...]) -> tuple[Key, ...]:
    return tuple((op, in_words(shape, **options)) for op, options in BY_ELEMENT.items())


CNN = (("cnn step", ONE_BATCH),)
LANGUAGE_MODEL = _each(["linear_cross_entropy"], unfused_in_words(*TOKENS[-1]))

TARGETS = (
    Target("MNIST CNN step, batch 128, default layout", 0.60, CNN, time_ratio),
    Target("MNIST CNN step, batch 128, the built-in's fastest layout", 0.90, CNN, best_layout_ratio),
    Target(
        "conv2d, three sizes, default layout",
        0.85,
        _each(["conv2d"], *(convolution_in_words(*sizes) for sizes in LARGE)),
        time_ratio,
    ),
    Target("MLP 784-512-256-10 step, batch 128", 1.05, (("mlp step", ONE_BATCH),), time_ratio),
    Target(
        "LSTM, GRU, RNN, two sizes of sequences",
        1.20,
        _each(GATES, *(sequence_in_words(*sizes) for sizes in LONG)),
        time_ratio,
    ),
    Target("elementwise activations of 4 million elements", 1.40, _activations(ELEMENTS[-1]), time_ratio),
    Target(
        "elementwise activations of 4 million elements, both compiled",
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
    Target("linear cross entropy, 4096 × 512 × 32,000: peak memory", 0.25, LANGUAGE_MODEL, peak_ratio),
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
        "SGD with momentum, 100 small parameters and one of 10 million elements",
        0.90,
        _each(["SGD"], SMALL_AND_LARGE),
        time_ratio,
    ),
    Target(
        "bytes saved beyond inputs and outputs, largest ratio of any op", 1.00, (), saved_ratio, max, memory=True
    ),
    Target(
        "overhead of a call on 4 elements, median over activations",
        20.0,
        _activations(TINY),
        overhead,
        median,
        unit=" µs",
    ),
    Target(
        "overhead of a call and its backward on 4 elements, median over activations",
        20.0,
        _activations(TINY),
        overhead_both,
        median,
        unit=" µs",
    ),
)


def needed(targets: Iterable[Target]) -> set[Key]:
    """Returns op and size of every workload that the targets measure."""
    return {key for target in targets for key in target.keys}


def judge(target: Target, found: Mapping[Key, Measurement], refused: Mapping[Key, str], compiled: bool) -> Verdict:
    """Judges a target. If one of its workloads was not measured, there is no figure: the rest would flatter it.

    Args:
        target: The row.
        found: Measurements by op and size; a target about memory uses all of them.
        refused: Reasons why a workload was not measured, by op and size.
        compiled: Whether compiled code was measured too.
    """
    if target.compiled and not compiled:
        return Verdict(target, None, "needs --compile")
    for key in target.keys:
        if key in refused:
            return Verdict(target, None, refused[key])
    figures = {key: target.each(found[key]) for key in target.keys or found}
    ordered = sorted(figures, key=lambda key: figures[key])
    said = [f"{figures[key]:.2f} {' '.join(key)}" for key in dict.fromkeys((ordered[0], *ordered[-2:]))]
    return Verdict(target, target.over(list(figures.values())), "; ".join(said) if len(ordered) > 1 else "")
