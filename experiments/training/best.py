"""The best evaluation of a training, and when to stop waiting for a better one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Best"]


class Best:
    """Keeps the best of all evaluations: of the first network, by accuracy, by loss where there is none or a tie.

    Args:
        patience: Evaluations in a row without a better one after which it is `exhausted`.

    Attributes:
        step: When it was.
        results: What was found then.
        since: Evaluations that came after it.
    """

    def __init__(self, patience: int | None) -> None:
        self.patience = patience
        self.step = self.since = 0
        self.results: Mapping[str, Mapping[str, float]] = {}

    def take(self, step: int, results: Mapping[str, Mapping[str, float]]) -> bool:
        """Takes in an evaluation; whether it is the best so far."""
        if self.results and not _rank(results) > _rank(self.results):
            self.since += 1
            return False
        self.step, self.results, self.since = step, results, 0
        return True

    @property
    def exhausted(self) -> bool:
        """Whether there was none better for long enough."""
        return self.patience is not None and self.since >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {"step": self.step, "since": self.since, "results": self.results}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to a state that `state_dict` gave."""
        self.step, self.since, self.results = state["step"], state["since"], state["results"]


def _rank(results: Mapping[str, Mapping[str, float]]) -> tuple[float, float]:
    first = next(iter(results.values()))
    return first.get("accuracy", 0.0), -first["loss"]
