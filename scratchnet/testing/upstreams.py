"""Upstream gradients that a wrong backward does not survive.

``y.sum().backward()`` sends ones upstream, under which the gradients of softmax and of every normalisation
vanish, so that a backward returning zeros passes. Values here are random. Strides are hostile: a backward that
assumes a dense upstream reads the wrong element, or the NaN that fills the gaps of a sliced one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from scratchnet.testing.subject import widest

__all__ = ["chosen_kinds", "upstreams"]

KINDS = ("random", "one-hot", "constant", "expanded", "sliced", "transposed", "channels_last")


def chosen_kinds(kinds: Sequence[str] | None) -> tuple[str, ...]:
    """The kinds of upstream gradients that a user chooses; none for all.

    Raises:
        ValueError: if there is no such kind, or none at all.
    """
    if kinds is not None and (isinstance(kinds, str) or not kinds or not set(kinds) <= set(KINDS)):
        raise ValueError(f"compare: expected upstreams among {KINDS}, such as ('random', 'sliced'), got {kinds!r}")
    return tuple(kinds or ())


def upstreams(output: Tensor, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
    """Upstream gradients for one output, each with its name.

    Args:
        output: the tensor whose gradient comes from upstream.
        generator: CPU generator the values are drawn from.

    Yields:
        ``random``, ``one-hot``, ``expanded`` (stride 0 along the first dimension), ``constant`` (stride 0
        everywhere, as ``sum`` sends it), ``transposed``, ``sliced`` (NaN between the elements) and, for four
        dimensions, ``channels_last``; those that make sense for the shape.
    """
    shape = output.shape

    def draw(*size: int) -> Tensor:
        values = torch.randn(size, generator=generator, dtype=widest(output))
        return values.to(output.device, output.dtype)

    yield "random", draw(*shape)
    if output.numel() == 0:
        return
    hot = torch.zeros(shape, device=output.device, dtype=output.dtype)
    hot.view(-1)[torch.randint(output.numel(), (1,), generator=generator).to(output.device)] = 1
    yield "one-hot", hot
    yield "constant", draw(1).reshape(()).expand(shape)
    if output.dim() == 0:
        return
    yield "expanded", draw(1, *shape[1:]).expand(shape)
    gaps = torch.full((*shape[:-1], 2 * shape[-1]), float("nan"), device=output.device, dtype=output.dtype)
    sliced = gaps[..., ::2]
    sliced.copy_(draw(*shape))
    yield "sliced", sliced
    if output.dim() > 1:
        yield "transposed", draw(*reversed(shape)).permute(*reversed(range(output.dim())))
    if output.dim() == 4:
        yield "channels_last", draw(*shape).to(memory_format=torch.channels_last)
