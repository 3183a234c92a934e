"""Growth of an op's time with one size: both sides at several sizes, and the exponent of each.

Time that grows as :math:`t = c n^p` is a line of slope p in logarithms. The exponent is fitted to the larger half of
the sizes, where the cost of a call no longer counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from reference.catalog import Make, Sample
from reference.speed.clock import interleave
from reference.speed.statistics import Spread, ratios, spread
from reference.speed.workload import DEFAULT, Workload, op_workload

__all__ = ["AXES", "Axis", "Growth", "exponent", "grow", "of_op"]

BLUR = 0.15  # exponents of one op differ by so much from run to run


@dataclass(frozen=True)
class Axis:
    """A size of an op that grows.

    Attributes:
        op: The op's name in the catalog.
        name: What grows: batch, channels, length, classes, kernel, image or width.
        sizes: The values, from small to large.
        sample: Makes a call of one value.
    """

    op: str
    name: str
    sizes: Sequence[int]
    sample: Callable[[int, Make], Sample]

    def workload(self, size: int) -> Workload:
        return op_workload(self.op, f"{self.name} {size}", partial(self.sample, size))


@dataclass(frozen=True)
class Growth:
    """Seconds of forward and backward of both sides at each size of an axis."""

    axis: Axis
    ours: Sequence[Spread]
    theirs: Sequence[Spread]
    ratio: Sequence[Spread]

    def exponents(self) -> tuple[float, float]:
        """Returns the exponents of ours and the built-in."""
        ours, theirs = (exponent(self.axis.sizes, [t.middle for t in side]) for side in (self.ours, self.theirs))
        return ours, theirs

    @property
    def worse(self) -> bool:
        """Whether ours grows faster, by more than timing and the first half of the sizes blur, and is slower for it."""
        ours, theirs = self.exponents()
        return ours > theirs + BLUR and self.ratio[-1].middle > 1

    def to_dict(self) -> dict[str, Any]:
        """Returns a form that JSON can hold."""
        sides = {"custom": self.ours, "builtin": self.theirs, "ratios": self.ratio}
        return {"op": self.axis.op, "grows": self.axis.name, "sizes": list(self.axis.sizes)} | {
            side: [spread._asdict() for spread in values] for side, values in sides.items()
        }


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Returns the exponent of a power law, fitted by least squares to the larger half of the sizes.

    Example:
        >>> exponent([1, 10, 100, 1000], [9.0, 9.0, 1.0, 100.0])
        2.0
    """
    first = min(len(sizes) // 2, len(sizes) - 2)
    points = [(math.log(n), math.log(t)) for n, t in zip(sizes, seconds, strict=True)][first:]
    center = [sum(values) / len(points) for values in zip(*points, strict=True)]
    covariance = sum((x - center[0]) * (y - center[1]) for x, y in points)
    return covariance / sum((x - center[0]) ** 2 for x, _ in points)


def grow(axis: Axis, budget: float) -> Growth:
    """Times both sides at each size, for ``budget`` seconds a size."""
    ours, theirs, ratio = [], [], []
    for size in axis.sizes:
        workload = axis.workload(size)
        times = interleave({candidate: workload.prepare(candidate) for candidate in DEFAULT}, budget)
        both = [times[candidate].of("both") for candidate in DEFAULT]
        ours.append(spread(both[0]))
        theirs.append(spread(both[1]))
        ratio.append(ratios(*both))
    return Growth(axis, ours, theirs, ratio)


def of_op(name: str) -> list[Axis]:
    return [axis for axis in AXES if axis.op == name]


def _image(batch: int, channels: int, side: int, out: int, kernel: int, make: Make) -> Sample:
    weight = make.normal(out, channels, kernel, kernel, scale=(channels * kernel**2) ** -0.5)
    return Sample((make.normal(batch, channels, side, side), weight), {"padding": kernel // 2})


def _sequence(length: int, batch: int, hidden: int, make: Make) -> Sample:
    return Sample((make.normal(length, batch, hidden),), arguments={"input_size": hidden, "hidden_size": hidden})


def _rows(rows: int, width: int, options: dict[str, Any], make: Make) -> Sample:
    return Sample((make.normal(rows, width),), options)


def _scores(rows: int, classes: int, make: Make) -> Sample:
    return Sample((make.normal(rows, classes), make.labels(rows, classes=classes)))


def _pooled(side: int, kernel: int, make: Make) -> Sample:
    return Sample((make.normal(4, 8, side, side), kernel), {"stride": 1})


def _heads(length: int, width: int, make: Make) -> Sample:
    return Sample(tuple(make.normal(2, 4, length, width) for _ in range(3)))


def _normalized(rows: int, width: int, make: Make) -> Sample:
    return Sample((make.normal(rows, width), (width,), make.normal(width), make.normal(width)))


def _padded(side: int, mode: str, make: Make) -> Sample:
    return Sample((make.normal(4, 8, side, side), (2, 2, 2, 2)), {"mode": mode})


def _pairs(points: int, make: Make) -> Sample:
    return Sample((make.normal(points, 16),))


def _two_sets(points: int, make: Make) -> Sample:
    return Sample((make.normal(points, 16), make.normal(points, 16)))


def _lookups(count: int, make: Make) -> Sample:
    return Sample((make.labels(count, classes=1000), make.normal(1000, 64)))


def _resized(side: int, make: Make) -> Sample:
    return Sample((make.normal(2, 8, side, side),), {"scale_factor": 2, "mode": "bilinear"})


def _axes() -> Iterator[Axis]:
    yield Axis("relu", "length", (64, 4096, 262_144, 4_194_304), lambda n, make: _rows(1, n, {}, make))
    yield Axis("gelu", "length", (64, 4096, 262_144, 4_194_304), lambda n, make: _rows(1, n, {}, make))
    yield Axis("softmax", "classes", (10, 100, 1000, 10_000), lambda n, make: _rows(128, n, {"dim": -1}, make))
    yield Axis("softmax", "batch", (16, 128, 1024, 8192), lambda n, make: _rows(n, 100, {"dim": -1}, make))
    yield Axis("cross_entropy", "classes", (10, 100, 1000, 10_000), lambda n, make: _scores(128, n, make))
    yield Axis("cross_entropy", "batch", (16, 128, 1024, 8192), lambda n, make: _scores(n, 100, make))
    yield Axis("layer_norm", "width", (16, 128, 1024, 8192), lambda n, make: _normalized(128, n, make))
    yield Axis("conv2d", "batch", (1, 4, 16, 64), lambda n, make: _image(n, 16, 16, 16, 3, make))
    yield Axis("conv2d", "channels", (4, 16, 64, 256), lambda n, make: _image(4, n, 14, n, 3, make))
    yield Axis("conv2d", "image", (8, 16, 32, 64, 128), lambda n, make: _image(2, 16, n, 16, 3, make))
    yield Axis("conv2d", "kernel", (3, 7, 15, 31, 49), lambda n, make: _image(2, 4, 64, 4, n, make))
    yield Axis("max_pool2d", "image", (16, 32, 64, 128), lambda n, make: _pooled(n, 3, make))
    yield Axis("max_pool2d", "kernel", (2, 4, 8, 16), lambda n, make: _pooled(64, n, make))
    yield Axis("avg_pool2d", "kernel", (2, 4, 8, 16), lambda n, make: _pooled(64, n, make))
    yield Axis("interpolate", "image", (8, 16, 32, 64, 128), lambda n, make: _resized(n, make))
    yield Axis("pad", "image", (8, 32, 128, 256), lambda n, make: _padded(n, "circular", make))
    for op in ("RNN", "GRU", "LSTM"):
        yield Axis(op, "length", (16, 64, 256, 1024, 4096), lambda n, make: _sequence(n, 4, 16, make))
        yield Axis(op, "batch", (1, 8, 64, 512), lambda n, make: _sequence(32, n, 32, make))
        yield Axis(op, "width", (8, 32, 128, 512), lambda n, make: _sequence(32, 8, n, make))
    yield Axis("scaled_dot_product_attention", "length", (32, 128, 512, 2048), lambda n, make: _heads(n, 32, make))
    yield Axis("pdist", "batch", (25, 100, 400, 1500), _pairs)
    yield Axis("cdist", "batch", (25, 100, 400, 1500), _two_sets)
    yield Axis("embedding", "batch", (16, 256, 4096, 65_536), _lookups)


AXES = tuple(_axes())
