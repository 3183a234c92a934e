"""The best evaluation of a training, and when to stop waiting for a better one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["Best"]


class Best:
    """Keeps the best of all evaluations: of the first network, by accuracy, by loss where there is none or a tie.

    Args:
        patience: Evaluations in a row without a lower loss after which it is `exhausted`: where a network learns by
            heart its loss rises early, while its accuracy creeps on.

    Attributes:
        step: When it was.
        results: What was found then.
        lowest: The lowest loss so far.
        since: Evaluations that came after that one.
    """

    def __init__(self, patience: int | None) -> None:
        self.patience = patience
        self.step = self.since = 0
        self.lowest = math.inf
        self.results: Mapping[str, Mapping[str, float]] = {}

    def take(self, step: int, results: Mapping[str, Mapping[str, float]]) -> bool:
        """Takes in an evaluation; whether it is the best so far."""
        loss = next(iter(results.values()))["loss"]
        self.since = 0 if loss < self.lowest else self.since + 1
        self.lowest = min(self.lowest, loss)
        if self.results and not _rank(results) > _rank(self.results):
            return False
        self.step, self.results = step, results
        return True

    @property
    def exhausted(self) -> bool:
        """Whether the loss has not fallen for long enough."""
        return self.patience is not None and self.since >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {"step": self.step, "lowest": self.lowest, "since": self.since, "results": self.results}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to a state that `state_dict` gave."""
        self.step, self.results = state["step"], state["results"]
        self.lowest, self.since = state["lowest"], state["since"]


def _rank(results: Mapping[str, Mapping[str, float]]) -> tuple[float, float]:
    first = next(iter(results.values()))
    return first.get("accuracy", 0.0), -first["loss"]
