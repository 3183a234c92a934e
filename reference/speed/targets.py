"""Performance targets as data, and the verdict on each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from reference.speed.measure import Measurement
from reference.speed.statistics import differences, geometric_mean, spread
from reference.speed.workload import DEFAULT, Candidate, Workload
from reference.speed.workloads import layer_shapes, models
from reference.speed.workloads.activations import ALONG_A_DIMENSION, BY_ELEMENT
from reference.speed.workloads.convolution import LARGE, convolution_in_words
from reference.speed.workloads.losses import SCORES, TOKENS, unfused_in_words
from reference.speed.workloads.normalization import EMBEDDED, PIXELS
from reference.speed.workloads.recurrent import GATES, LONG, NARROW, sequence_in_words
from reference.speed.workloads.sized import ELEMENTS, TINY, in_words
from reference.speed.workloads.steps import ONE_BATCH, SMALL_AND_LARGE

__all__ = ["TARGETS", "Target", "Verdict", "judge", "needs"]

Key = tuple[str, str]
ANY = ""  # in place of a size: all workloads of the op
OURS, THEIRS = DEFAULT
COMPILED = Candidate("custom", compiled=True), Candidate("builtin", compiled=True)
KERNELS = Candidate("custom", kernels=True)


@dataclass(frozen=True)
class Target:
    """One row of the table of targets.

    Attributes:
        what: A description of the work.
        limit: The largest figure that meets the target.
        keys: Op and size of each workload that is measured; without a size, all of the op's; without keys, all.
        each: Computes the figure of one workload.
        over: Reduces the figures to one: their geometric mean, maximum or median.
        unit: The unit of the figure; a ratio has none.
        compiled: Whether both sides run under `torch.compile`.
        kernels: Whether ours runs with compiled kernels.
    """

    what: str
    limit: float
    keys: tuple[Key, ...]
    each: Callable[[Measurement], float]
    over: Callable[[Sequence[float]], float] = geometric_mean
    unit: str = ""
    compiled: bool = False
    kernels: bool = False


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


def kernels_ratio(found: Measurement) -> float:
    """Returns `time_ratio` of ours with compiled kernels."""
    return found.ratio(KERNELS, THEIRS).middle


def best_layout_ratio(found: Measurement) -> float:
    """Returns our time over the built-in's in the layout where the built-in is fastest."""
    return found.ratio(OURS, found.best("builtin")).middle


def peak_ratio(found: Measurement) -> float:
    """Returns our peak memory over the built-in's."""
    return found.memory["custom"].peak / found.memory["builtin"].peak


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


def _eager_and_in_kernels(
    what: str, limit: float, in_kernels: float, keys: tuple[Key, ...]
) -> tuple[Target, Target]:
    return (
        Target(what, limit, keys, time_ratio),
        Target(f"{what}, with kernels", in_kernels, keys, kernels_ratio, kernels=True),
    )


def _steps(*names: str) -> tuple[Key, ...]:
    return tuple((f"{name} step", size) for name in names for size in _SIZES[name])


_SIZES = {
    "cnn": (ONE_BATCH,),
    "cnn module": (ONE_BATCH,),
    "mlp": (ONE_BATCH,),
    "gpt block": tuple(models.TOKENS),
    "bert": tuple(models.SENTENCES),
} | dict.fromkeys(models.NETWORKS, tuple(models.IMAGES))
MODULE = _steps("cnn module")
LAYERS = ((layer_shapes.OP, ANY),)
RESNET = (("resnet18 step", next(iter(models.IMAGES))),)
SEQUENCES = tuple(sequence_in_words(*sizes) for sizes in LONG)
SOFTMAX = (
    *_each(("softmax", "log_softmax"), *(in_words(shape, dim=-1) for shape in ALONG_A_DIMENSION[1:])),
    *_each(["cross_entropy"], *map(in_words, SCORES)),
)
NORMS = (
    ("batch_norm", in_words(PIXELS, training=True)),
    *_each(("group_norm",), in_words(PIXELS)),
    *_each(("layer_norm", "rms_norm"), in_words(EMBEDDED)),
)
SGD, CALLS = _each(["SGD"], SMALL_AND_LARGE), _activations(TINY)
LANGUAGE_MODEL = _each(["linear_cross_entropy"], unfused_in_words(*TOKENS[-1]))
BOTH_COMPILED = {
    "CNN": MODULE,
    "MLP": _steps("mlp"),
    "LSTM": _each(["LSTM"], SEQUENCES[0]),
    "resnet18 at 64×64": RESNET,
    "GPT block": _steps("gpt block"),
}

TARGETS = (
    Target("MNIST CNN as an ordinary module, step, default layout", 0.95, MODULE, time_ratio),
    Target("the same, the built-in's fastest layout", 0.95, MODULE, best_layout_ratio),
    *(
        Target(f"{what}, both compiled", 1.00, keys, compiled_ratio, compiled=True)
        for what, keys in BOTH_COMPILED.items()
    ),
    Target("LSTM, GRU, RNN, two sizes of sequences", 1.15, _each(GATES, *SEQUENCES), time_ratio),
    Target("LSTM alone", 1.50, _each(["LSTM"], *SEQUENCES), time_ratio),
    Target(
        "LSTM, hidden 8 to 64, 250 to 4000 steps, worst",
        3.0,
        _each(["LSTM"], *(sequence_in_words(*sizes) for sizes in NARROW)),
        time_ratio,
        max,
    ),
    *_eager_and_in_kernels(
        "elementwise activations of 4 million elements", 1.50, 0.95, _activations(ELEMENTS[-1])
    ),
    *_eager_and_in_kernels("softmax, log-softmax, cross entropy at (8192,1000), (128,10)", 1.50, 1.10, SOFTMAX),
    *_eager_and_in_kernels("batch, group, layer, RMS norm at (128,64,24,24), (32,128,768)", 1.40, 1.10, NORMS),
    Target(
        "conv2d, three sizes",
        1.05,
        _each(["conv2d"], *(convolution_in_words(*sizes) for sizes in LARGE)),
        time_ratio,
    ),
    Target("conv2d, all layer shapes of five networks, geometric mean", 1.15, LAYERS, time_ratio),
    Target("conv2d, all layer shapes of five networks, worst", 2.0, LAYERS, time_ratio, max),
    *(
        Target(f"{name}, whole step, two sizes, worst", 1.30, _steps(name), time_ratio, max)
        for name in (*models.NETWORKS, "bert")
    ),
    Target("MLP 784-512-256-10 step, batch 128", 1.10, _steps("mlp"), time_ratio),
    Target("linear cross entropy, 4096 × 512 × 32,000: time", 1.00, LANGUAGE_MODEL, time_ratio),
    Target("SGD with momentum, 100 small parameters and one of 10 million", 1.00, SGD, time_ratio),
    Target("overhead of a call on 4 elements, median over activations", 15.0, CALLS, overhead, median, unit=" µs"),
    Target(
        "overhead of a call and its backward on 4 elements, median over activations",
        35.0,
        CALLS,
        overhead_both,
        median,
        unit=" µs",
    ),
    Target("peak memory, largest ratio of all rows", 1.00, (), peak_ratio, max),
)


def needs(target: Target, workload: Workload) -> bool:
    """Returns whether a target measures a workload."""
    return (workload.op, workload.size) in target.keys or (workload.op, ANY) in target.keys


def judge(
    target: Target,
    found: Mapping[Key, Measurement],
    refused: Mapping[Key, str],
    compiled: bool = False,
    in_kernels: bool = False,
) -> Verdict:
    """Judges a target. If one of its workloads was not measured, there is no figure: the rest would flatter it.

    Args:
        target: The row.
        found: Measurements by op and size; a target without keys uses all of them.
        refused: Reasons why a workload was not measured, by op and size.
        compiled: Whether compiled code was measured too.
        in_kernels: Whether compiled kernels were measured too.
    """
    if target.compiled and not compiled:
        return Verdict(target, None, "needs --compile")
    if target.kernels and not in_kernels:
        return Verdict(target, None, "needs --kernels")
    measured = [key for key in (*found, *refused) if not target.keys or {key, (key[0], ANY)} & set(target.keys)]
    for key in measured:
        if key in refused and target.keys:
            return Verdict(target, None, refused[key])
    figures = {key: target.each(found[key]) for key in measured if key in found}
    ordered = sorted(figures, key=lambda key: figures[key])
    said = [f"{figures[key]:.2f} {' '.join(key)}" for key in dict.fromkeys((ordered[0], *ordered[-2:]))]
    return Verdict(target, target.over(list(figures.values())), "; ".join(said) if len(ordered) > 1 else "")
