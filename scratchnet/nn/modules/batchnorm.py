"""Batch normalization."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from scratchnet.normalization.batch_norm import normalize_batch
from scratchnet.normalization.sync_batch_norm import sync_batch_norm

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "LazyBatchNorm1d",
    "LazyBatchNorm2d",
    "LazyBatchNorm3d",
    "SyncBatchNorm",
]


class _BatchNorm(torch.nn.modules.batchnorm._BatchNorm):
    """Normalizes with the batch's statistics, or in evaluation with the running ones."""

    def _next_momentum(self) -> float | Tensor:
        """Counts the batch, and returns the weight of its statistics in the running ones."""
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # the plain average over all batches
                return self.num_batches_tracked.reciprocal()
        return 0.0 if self.momentum is None else self.momentum

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        momentum = self._next_momentum()
        uses_running = not self.training or self.track_running_stats
        return normalize_batch(
            input,
            self.running_mean if uses_running else None,
            self.running_var if uses_running else None,
            self.weight,
            self.bias,
            self.training or (self.running_mean is None and self.running_var is None),
            momentum,
            self.eps,
        )


class BatchNorm1d(_BatchNorm, torch.nn.BatchNorm1d):
    pass


class BatchNorm2d(_BatchNorm, torch.nn.BatchNorm2d):
    pass


class BatchNorm3d(_BatchNorm, torch.nn.BatchNorm3d):
    pass


class LazyBatchNorm1d(_BatchNorm, torch.nn.LazyBatchNorm1d):
    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_BatchNorm, torch.nn.LazyBatchNorm2d):
    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_BatchNorm, torch.nn.LazyBatchNorm3d):
    cls_to_become = BatchNorm3d


class SyncBatchNorm(_BatchNorm, torch.nn.SyncBatchNorm):
    def forward(self, input: Tensor) -> Tensor:
        distributed = dist.is_available() and dist.is_initialized()
        if not (self.training and distributed and dist.get_world_size(self.process_group) > 1):
            return super().forward(input)
        self._check_input_dim(input)
        self._check_non_zero_input_channels(input)
        momentum = self._next_momentum()
        running = (self.running_mean, self.running_var) if self.track_running_stats else (None, None)
        return sync_batch_norm(input, *running, self.weight, self.bias, momentum, self.eps, self.process_group)

    @classmethod
    def convert_sync_batchnorm(cls, module: torch.nn.Module, process_group: Any = None) -> torch.nn.Module:
        converted = super().convert_sync_batchnorm(module, process_group)
        for part in converted.modules():
            if type(part) is torch.nn.SyncBatchNorm:
                part.__class__ = cls
        return converted
