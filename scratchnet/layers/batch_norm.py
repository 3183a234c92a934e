"""Batch normalization as a layer: its parameters, and statistics that run along while it trains.

With momentum m the running mean after a batch of mean μ is (1 - m) · running mean + m · μ, and likewise for the
variance: an exponential average over roughly the last 1 / m batches. With momentum None batch number k counts
1 / k, which makes it the plain average over all batches.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from scratchnet.arguments import describe
from scratchnet.layers.normalization import batch_norm

__all__ = ["BatchNorm1d", "BatchNorm2d"]


class _BatchNorm(nn.Module):
    """What the layers share; they differ in the shapes they accept."""

    _version = 2
    __constants__ = ["affine", "eps", "momentum", "num_features", "track_running_stats"]
    _dims: tuple[int, ...]

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats

        def vector(wanted: bool) -> Tensor | None:
            return torch.empty(num_features, device=device, dtype=dtype) if wanted else None

        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            values = vector(wanted)
            self.register_parameter(name, None if values is None else nn.Parameter(values))
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, vector(track_running_stats))
        batches = torch.tensor(0, dtype=torch.long, device=device) if track_running_stats else None
        self.register_buffer("num_batches_tracked", batches)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Sets the running mean to 0, the running variance to 1, and forgets how many batches there were."""
        for buffer, start in (
            (self.running_mean, 0),
            (self.running_var, 1),
            (self.num_batches_tracked, 0),
        ):
            if buffer is not None:
                buffer.fill_(start)

    def reset_parameters(self) -> None:
        """Resets the running statistics, and sets weight to 1 and bias to 0."""
        self.reset_running_stats()
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Applies `batch_norm`, in training or where there are no running statistics with the batch's own."""
        if input.dim() not in self._dims:
            raise ValueError(
                f"{type(self).__name__}: expected {' or '.join(f'{d}D' for d in self._dims)} input of shape "
                f"(N, {self.num_features}, ...), got {describe(input)}"
            )
        factor = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # the average over all batches
                factor = 1.0 / float(self.num_batches_tracked)
        missing = self.running_mean is None and self.running_var is None
        use_running = not self.training or self.track_running_stats
        return batch_norm(
            input,
            self.running_mean if use_running else None,
            self.running_var if use_running else None,
            self.weight,
            self.bias,
            self.training or missing,
            factor,
            self.eps,
        )

    def extra_repr(self) -> str:
        """The options."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *rest: Any
    ) -> None:
        """Fills in the count of batches, which state saved before version 2 lacks."""
        version = local_metadata.get("version")
        key = f"{prefix}num_batches_tracked"
        if (version is None or version < 2) and self.track_running_stats and key not in state_dict:
            counted = self.num_batches_tracked
            known = counted is not None and counted.device.type != "meta"
            state_dict[key] = counted if known else torch.tensor(0, dtype=torch.long)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


class BatchNorm1d(_BatchNorm):
    """`batch_norm` of inputs of shape ``(N, C)`` or ``(N, C, L)``, with its parameters and running statistics.

    Args:
        num_features: the number of channels C.
        eps: added to the variance.
        momentum: weight of a batch in the running statistics; None averages over all batches alike.
        affine: whether to learn a weight and a bias for each channel.
        track_running_stats: whether to keep running statistics; without them evaluation uses the batch's.
        device: where parameters and buffers live.
        dtype: their dtype.
        bias: whether an affine layer has a bias.
    """

    _dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """`batch_norm` of inputs of shape ``(N, C, H, W)``; otherwise like `BatchNorm1d`."""

    _dims = (4,)
