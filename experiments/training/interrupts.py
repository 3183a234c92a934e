"""Ctrl-C as a question to ask between two steps, which all processes answer alike."""

from __future__ import annotations

import signal
from types import TracebackType
from typing import Any

from experiments import processes

__all__ = ["Interrupts"]


class Interrupts:
    """Makes Ctrl-C a question to ask instead of an exception, which could leave a step half done; a context manager.

    A second Ctrl-C is an exception again, unless there are several processes, which must stop together: they hear of
    each other's with the figures of a step.
    """

    def __init__(self) -> None:
        self._here = self._anywhere = False
        self._previous: Any = None

    @property
    def pressed(self) -> bool:
        """Whether to stop."""
        return self._here if processes.size() == 1 else self._anywhere

    def over_all(self, figures: dict[str, float], weight: float) -> dict[str, float]:
        """The means of a step's figures over all processes, in which this one's share weighs ``weight``."""
        count = processes.size()
        if count == 1:
            return figures
        *means, pressed = processes.total(
            [*(figure * weight / count for figure in figures.values()), float(self._here)]
        )
        self._anywhere = self._anywhere or pressed > 0
        return dict(zip(figures, means, strict=True))

    def __enter__(self) -> Interrupts:
        self._previous = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._previous)

    def _press(self, number: int, frame: object) -> None:
        self._here = True
        if processes.size() == 1:
            signal.signal(signal.SIGINT, self._previous)
