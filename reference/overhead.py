"""``python -m reference.overhead``: what a call of an op costs on top of its arithmetic.

Each figure is the median over many interleaved rounds of the mean time of one call on four elements, in
microseconds: the op's bare mathematics, the op with and without a gradient recorded, and PyTorch's built-in.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from scratchnet.activations.relu import LeakyReLUFunction

__all__ = ["overhead"]

ROUNDS = 31
CALLS = 1000


def overhead() -> dict[str, float]:
    """Microseconds a call, by what is called."""
    x = torch.randn(4, requires_grad=True)
    plain = x.detach()
    op = LeakyReLUFunction

    def unrecorded(run: Callable[[Tensor], object]) -> Callable[[], object]:
        def call() -> object:
            with torch.no_grad():
                return run(plain)

        return call

    candidates: dict[str, Callable[[], object]] = {
        "no_grad alone": unrecorded(lambda x: x),
        "mathematics, no_grad": unrecorded(lambda x: op.mathematics.forward(x, negative_slope=0.01)),
        "op, no_grad": unrecorded(lambda x: op.apply(x, 0.01)),
        "op, recorded": lambda: op.apply(x, 0.01),
        "op under torch.func's class": lambda: op.traced.apply(x, 0.01),
        "built-in, recorded": lambda: F.leaky_relu(x, 0.01),
    }
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(ROUNDS):
        for name, call in candidates.items():
            start = time.perf_counter()
            for _ in range(CALLS):
                call()
            times[name].append((time.perf_counter() - start) / CALLS * 1e6)
    return {name: statistics.median(measured) for name, measured in times.items()}


if __name__ == "__main__":
    for name, microseconds in overhead().items():
        print(f"{name:30} {microseconds:6.1f} µs")
