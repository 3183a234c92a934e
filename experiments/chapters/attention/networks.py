"""A causal transformer in the place of a recurrent layer, and recurrent networks of its size."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from experiments.backend import CUSTOM, Backend
from experiments.chapters.sequences.networks import Cell, SequenceModel

__all__ = ["CausalTransformer", "TransformerModel", "attention_weights", "equal_hidden"]


class TransformerModel(SequenceModel):
    """A sequence model with a causal transformer between embedding and answer.

    Args:
        backend: Backend of the layers.
        depth: Number of blocks.
        heads: Number of heads of each block.
        longest: Number of elements that it can look back on.
        options: Arguments of `SequenceModel`; ``hidden`` is the width of the blocks.
    """

    recurrent: CausalTransformer

    def __init__(self, backend: Backend, *, depth: int, heads: int, longest: int, **options: Any) -> None:
        self.sizes = depth, heads, longest
        super().__init__(backend, "transformer", **options)

    def make_layer(self, layers: Any, cell: Any, features: int, hidden: int) -> nn.Module:
        return CausalTransformer(layers, features, hidden, *self.sizes)


class CausalTransformer(nn.Module):
    """Blocks of causal self-attention, normalized first, on elements with sinusoidal positions.

    Its state is what it has read, up to ``longest`` elements, which it reads again at every call. Elements further
    back have no states in what it returns.

    Source: A. Vaswani et al., "Attention is all you need", 2017; A. Radford et al., "Language models are unsupervised
    multitask learners", 2019, for normalization before attention.
    """

    positions: Tensor

    def __init__(self, layers: Any, features: int, hidden: int, depth: int, heads: int, longest: int) -> None:
        super().__init__()
        self.longest = longest
        self.widen = layers.Linear(features, hidden)
        self.blocks = layers.ModuleList(
            layers.TransformerEncoderLayer(
                hidden, heads, 4 * hidden, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.norm = layers.LayerNorm(hidden)
        self.register_buffer("positions", sinusoids(longest, hidden), persistent=False)

    def forward(self, elements: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Maps elements (B, T, features) to states (B, T, hidden); also returns all elements read."""
        read = (elements if state is None else torch.cat((state, elements), 1))[:, -self.longest :]
        x, mask = self.start(read)
        for block in self.blocks:
            x = block(x, src_mask=mask, is_causal=True)
        return self.norm(x)[:, -elements.shape[1] :], read

    def start(self, read: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the first block's input, and the mask of the times that lie ahead."""
        count = read.shape[1]
        mask = torch.full((count, count), -math.inf, dtype=read.dtype, device=read.device).triu(1)
        return self.widen(read) + self.positions[:count], mask


def sinusoids(count: int, width: int) -> Tensor:
    """Returns positions (count, width) as sines and cosines of wavelengths from 2π up to count times 2π."""
    rates = count ** -(torch.arange(0, width, 2) / width)
    angles = torch.arange(count)[:, None] * rates
    return torch.stack((angles.sin(), angles.cos()), 2).flatten(1)[:, :width]


@torch.no_grad()
def attention_weights(model: TransformerModel, inputs: Tensor) -> list[Tensor]:
    """Returns for each block the share of each time (columns) in what a later one (rows) reads, (B, heads, T, T)."""
    x, mask = model.recurrent.start(model.embedding(inputs))
    found = []
    for block in model.recurrent.blocks:
        normed = block.norm1(x)
        _, weights = block.self_attn(normed, normed, normed, attn_mask=mask, average_attn_weights=False)
        found.append(weights)
        x = block(x, src_mask=mask, is_causal=True)
    return found


def equal_hidden(cell: Cell, parameters: int, network: Mapping[str, Any]) -> int:
    """Returns the even number of units with which a recurrent network has at most so many parameters."""

    def count(units: int) -> int:
        return sum(p.numel() for p in SequenceModel(CUSTOM, cell, hidden=units, **network).parameters())

    return 2 * max(1, bisect(range(2, 2048, 2), parameters, key=count))
