"""Running statistics: what batch and instance normalization remember of the batches they have seen.

With momentum m the running mean after a batch of mean μ is (1 - m) · running mean + m · μ, and likewise for the
variance: an exponential average over roughly the last 1 / m batches.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from scratchnet.function import batched

__all__ = ["RunningNorm", "check_statistics", "follow"]


def follow(op: str, running: Tensor, statistic: Tensor, momentum: float | Tensor, name: str) -> None:
    """Moves a running statistic towards that of a batch, in place.

    Raises:
        RuntimeError: under `torch.func.vmap`, if several batches meet one statistic, which can follow but one.
    """
    if batched(statistic) and not batched(running):
        raise RuntimeError(
            f"{op}: expected one {name} for each batch under vmap, got a single one, which would have to follow "
            "several batches at once; map over it too (torch.func.stack_module_state stacks the buffers of "
            "several models), use track_running_stats=False, or evaluate with .eval()"
        )
    weight = momentum.to(running.dtype) if isinstance(momentum, Tensor) else momentum
    running.mul_(1 - weight).add_(statistic.detach().to(running.dtype) * weight)


def check_statistics(
    op: str, running_mean: Tensor | None, running_var: Tensor | None, needed: bool, instead: str
) -> None:
    """Expects both running statistics or neither, and both where they are needed.

    Raises:
        RuntimeError: if one that is needed is missing.
        ValueError: if one that is not needed comes without the other.
    """
    both = running_mean is not None and running_var is not None
    if needed and not both:
        raise RuntimeError(
            f"{op}: expected running_mean and running_var in evaluation, got "
            f"{'neither' if running_mean is running_var else 'only one'}; pass both, or {instead}"
        )
    if not both and running_mean is not running_var:
        raise ValueError(f"{op}: expected running_mean and running_var, or neither, got only one of them")


class RunningNorm(nn.Module):
    """What the layers with running statistics share: weight, bias, buffers, and how these are reset and loaded."""

    _version = 2
    __constants__ = ["affine", "eps", "momentum", "num_features", "track_running_stats"]

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
