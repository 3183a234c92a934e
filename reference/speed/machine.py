"""The machine, and the limits that put a floor under every time."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from reference.speed.statistics import percentile

__all__ = ["Machine", "measure_machine"]

PRODUCTS = (512, 1024, 2048)
MOVED = tuple(4**k for k in range(7, 14))  # bytes copied at once: 16 KiB to 64 MiB
REPETITIONS, SHORTEST = 7, 2e-3


@dataclass(frozen=True)
class Machine:
    """A description of the machine, and its measured limits.

    Attributes:
        description: Processor, system, versions, threads.
        flops: Operations per second of the fastest matrix product.
        warm: Bytes per second, read and written, of a copy into memory in use, by the number of bytes copied.
        fresh: Bytes per second of a copy into new memory, as the result of every op is.
    """

    description: dict[str, str]
    flops: float
    warm: dict[int, float]
    fresh: dict[int, float]

    def floor(self, operations: float, moved: float, into_fresh: bool = True) -> float:
        """Returns a lower bound on the time in seconds: operations at the peak rate, or bytes at the bandwidth.

        The bandwidth is that of a copy of similar size, so that data that fits in the cache is compared with the cache.
        The cost of calling Python is not included.
        """
        rates = self.fresh if into_fresh else self.warm
        nearest = min(rates, key=lambda size: abs(2 * size - moved))
        return max(operations / self.flops, moved / rates[nearest])

    def to_dict(self) -> dict[str, Any]:
        """Returns the machine as plain values."""
        return {
            "description": self.description,
            "flops": self.flops,
            "warm": {str(size): rate for size, rate in self.warm.items()},
            "fresh": {str(size): rate for size, rate in self.fresh.items()},
        }


def measure_machine() -> Machine:
    """Measures the fastest float32 matrix product, and copies of several sizes."""
    flops = 0.0
    for n in PRODUCTS:
        a, b, c = torch.randn(n, n), torch.randn(n, n), torch.empty(n, n)
        flops = max(flops, 2 * n**3 / _seconds(partial(torch.mm, a, b, out=c)))
    warm, fresh = {}, {}
    for size in MOVED:
        source, target = torch.zeros(size, dtype=torch.uint8), torch.zeros(size, dtype=torch.uint8)
        warm[size] = 2 * size / _seconds(partial(target.copy_, source))
        fresh[size] = 2 * size / _seconds(source.clone)
    return Machine(_description(), flops, warm, fresh)


def _seconds(call: Callable[[], object]) -> float:
    """Returns the 20th percentile of a call's time; short calls are timed many at once."""
    call()
    times: list[float] = []
    calls = 1
    while len(times) < REPETITIONS:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        taken = time.perf_counter() - start
        if taken < SHORTEST:
            calls *= 2
        else:
            times.append(taken / calls)
    return percentile(times, 20)


def _description() -> dict[str, str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor(),
        "cores": str(cores),
        "threads": str(torch.get_num_threads()),
        "system": f"{platform.system()} {platform.machine()}",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "matrix product": "MKL" if torch.backends.mkl.is_available() else "without MKL",
        "vector instructions": torch.backends.cpu.get_cpu_capability(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
