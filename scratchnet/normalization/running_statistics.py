"""Running statistics: what batch and instance normalization remember of the batches they have seen.

With momentum m the running mean after a batch of mean μ is (1 - m) · running mean + m · μ, and likewise for the
variance: an exponential average over roughly the last 1 / m batches.
"""

from __future__ import annotations

from torch import Tensor

from scratchnet.function import batched

__all__ = ["check_statistics", "follow"]


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
