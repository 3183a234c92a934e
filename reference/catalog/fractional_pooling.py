"""Fractional maximum pooling in two and three dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import scratchnet.nn
from reference.catalog.record import BadInput, Make, Record, Sample, bad, leaf, module_pairs
from scratchnet.pooling import fractional_pooling as fractional
from scratchnet.pooling.selection import SelectFunction

__all__ = ["RECORDS"]

INFINITY, NAN = float("inf"), float("nan")


def samples(make: Make, dims: int) -> Iterator[Sample]:
    """Yields sizes and ratios with given random samples, and with ones that the comparison seeds alike."""
    shape = (5, 6) if dims == 2 else (4, 5, 5)

    def draws(batch: int, channels: int) -> dict[str, Any]:
        return {"_random_samples": make.uniform(batch, channels, dims, grad=False)}

    yield Sample((make.distinct(2, 2, *shape), 2, 2), draws(2, 2))
    outputs = (3, 4) if dims == 2 else (2, 3, 3)
    yield Sample((make.distinct(2, 2, *shape), 2), {"output_size": outputs, **draws(3, 2)})
    ratios = (0.5, 0.7) if dims == 2 else (0.4, 0.5, 0.7)
    yield Sample((make.distinct(2, 2, *shape), (1, 3, 2)[:dims]), {"output_ratio": ratios, **draws(2, 2)})
    yield Sample((make.distinct(2, 2, *shape), 2), {"output_size": 1, "return_indices": True, **draws(2, 2)})
    yield Sample((make.distinct(2, *shape), 2, 2), {"return_indices": True, **draws(1, 2)})
    yield Sample((make.distinct(0, 2, *shape), 2, 2), draws(0, 2))
    yield Sample((make.distinct(0, *shape), 2, 2), draws(1, 0))
    yield Sample((make.distinct(2, 3, *shape), 2), {"output_ratio": ratios})
    turned = make.distinct(*reversed((2, 2, *shape))).detach().permute(*reversed(range(dims + 2)))
    yield Sample((leaf(turned), 2, 2), draws(2, 2))
    odd = make.values(1.0, 1.0, -INFINITY, -INFINITY, NAN, 2.0, NAN, NAN, 0.0, INFINITY, INFINITY).detach()
    image = odd.view(1, 1, *(1,) * (dims - 1), -1).expand(1, 1, *(4,) * (dims - 1), -1).clone()
    yield Sample((leaf(image), 2, (2, 2, 6)[-dims:]), {"return_indices": True, **draws(1, 1)}, smooth=False)


def errors(dims: int) -> Iterator[BadInput]:
    image = torch.ones(2, 3, *(4,) * dims)
    yield bad(ValueError, "got neither", image, 2)
    yield bad(RuntimeError, "expected windows that start at different elements", image, 2, 4)
    yield bad(TypeError, "expected kernel_size to be an integer", image, 2.0, 2)
    yield bad(RuntimeError, "expected kernel_size to be one integer", image, (2,) * (dims + 1), 2)
    yield bad(NotImplementedError, "floating point", image.long(), 2, 2)
    yield bad(RuntimeError, "only the batch may be empty", image[:, :0], 2, 2)
    for wrong in ((1, 3, dims), (2, 4, dims), (2, 3, dims + 1)):
        yield bad(
            RuntimeError, "expected _random_samples of shape", image, 2, 2, _random_samples=torch.zeros(wrong)
        )
    doubles = torch.zeros(2, 3, dims, dtype=torch.float64)
    yield bad(RuntimeError, "of the input's dtype", image, 2, 2, _random_samples=doubles)


def record(dims: int) -> Record:
    name, module = f"fractional_max_pool{dims}d", f"FractionalMaxPool{dims}d"
    calls: tuple[dict[str, Any], ...] = (
        {"output_size": 3},
        {"output_ratio": (0.5,) * dims, "return_indices": True},
        {"output_size": (2,) * dims, "_random_samples": torch.full((1, 1, dims), 0.5)},
    )
    return Record(
        name,
        getattr(fractional, name),
        getattr(F, name),
        partial(samples, dims=dims),
        [SelectFunction],
        errors=tuple(errors(dims)),
        builtin_lacks=frozenset({"vmap"}),
        modules=module_pairs(getattr(scratchnet.nn, module), getattr(nn, module), *calls, sizes=(2,)),
    )


RECORDS = (record(2), record(3))
