"""Embedding tables."""

from __future__ import annotations

import torch
from torch import Tensor

from scratchnet import functional as F

__all__ = ["Embedding", "EmbeddingBag"]


class Embedding(torch.nn.Embedding):
    def forward(self, input: Tensor) -> Tensor:
        options = self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse
        return F.embedding(input, self.weight, *options)


class EmbeddingBag(torch.nn.EmbeddingBag):
    def forward(
        self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None
    ) -> Tensor:
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )
