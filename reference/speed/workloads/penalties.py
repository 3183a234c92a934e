"""Penalties and limits on weights."""

from __future__ import annotations

from reference.speed.workloads.sized import TINY, sized

__all__ = ["WORKLOADS"]

WORKLOADS = (
    *sized("l1_penalty", (TINY, (65_536,))),
    *sized("l2_penalty", (TINY, (65_536,))),
    *sized("max_norm_", ((4, 4), (256, 512)), limit=1.0),
)
