"""Maximum pooling that returns indices, under its own names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch.nn.functional as F

from reference.catalog.adaptive_pooling import size
from reference.catalog.record import Make, Record, Sample
from scratchnet.pooling import with_indices
from scratchnet.pooling.max_pooling import MaxPoolFunction
from scratchnet.pooling.selection import SelectFunction

__all__ = ["RECORDS"]


def pooled(make: Make, kind: str, dims: int) -> Iterator[Sample]:
    """Yields few samples: the ops without ``with_indices`` have the rest."""
    shape = size(dims) if kind != "fractional_" else (5, 6) if dims == 2 else (4, 5, 5)
    if kind == "fractional_":
        draws = {"_random_samples": make.uniform(2, 2, dims, grad=False)}
        yield Sample((make.distinct(2, 2, *shape), 2, 2), draws)
        yield Sample((make.distinct(2, 2, *shape), 2, 2, None, False), draws)
        return
    yield Sample((make.distinct(2, 2, *shape), 2))
    yield Sample((make.distinct(2, 2, *shape), 2), {"return_indices": False})
    if kind:
        yield Sample((make.distinct(2, 2, *shape), shape))  # each element is a window
    else:
        yield Sample((make.distinct(2, 2, *shape), 2, 1, 1, 1, True, False))


RECORDS = (
    *(
        Record(
            name := f"{kind}max_pool{dims}d_with_indices",
            getattr(with_indices, name),
            getattr(F, name),
            partial(pooled, kind=kind, dims=dims),
            [SelectFunction if kind else MaxPoolFunction],
        )
        for kind in ("", "adaptive_", "fractional_")
        for dims in ((2, 3) if kind == "fractional_" else (1, 2, 3))
    ),
)
