"""Stops and continues a training: checkpoints, and Ctrl-C as a request to stop between two steps.

A checkpoint is a dictionary of plain values and tensors, which ``torch.load(weights_only=True)`` reads: opening
one needs no class of this repository and cannot run code.
"""

from __future__ import annotations

import io
import signal
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from experiments import processes
from experiments.errors import ExperimentError
from experiments.run import replace_file

__all__ = ["Interrupts", "damaged", "load", "random_state", "restore_random_state", "save"]


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes the state atomically: after a kill either the old or the new checkpoint exists.

    Raises:
        OSError: The checkpoint cannot be written; the old one is kept.
    """
    buffer = io.BytesIO()  # torch.save to a file does not report why a full disk fails
    torch.save(state, buffer)
    replace_file(path, buffer.getvalue())


def load(path: Path) -> dict[str, Any]:
    """Reads a state onto the CPU.

    Raises:
        ExperimentError: The checkpoint is missing or damaged.
    """
    if not path.is_file():
        raise ExperimentError(
            f"'{path.parent}' has no checkpoint: it was stopped before it saved one; "
            "start a new run without --resume"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the type depends on what is damaged: archive, pickle or tensor
        raise damaged(path, error) from error
    if not isinstance(state, dict):
        raise damaged(path, TypeError(f"expected a dictionary, got {type(state).__name__}"))
    return state


def damaged(path: Path, error: Exception) -> ExperimentError:
    """Returns the error to raise for a checkpoint with unexpected contents."""
    reason = str(error).strip().partition("\n")[0].partition(". ")[0]
    return ExperimentError(
        f"'{path}' is damaged ({type(error).__name__}: {reason}); start a new run without --resume"
    )


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Returns the states of the random generators that training on ``device`` uses."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)


class Interrupts:
    """Turns Ctrl-C from an exception, which could interrupt a step, into a flag; a context manager.

    A second Ctrl-C raises an exception, unless there are several processes: these must stop together, and learn of
    each other's Ctrl-C when they exchange the metrics of a step.
    """

    def __init__(self) -> None:
        self._here = self._anywhere = False
        self._previous: Any = None

    @property
    def pressed(self) -> bool:
        return self._here if processes.size() == 1 else self._anywhere

    def mean(self, metrics: dict[str, float], weight: float) -> dict[str, float]:
        """Averages the metrics of a step over all processes; this one has weight ``weight``."""
        count = processes.size()
        if count == 1:
            return metrics
        *means, pressed = processes.total(
            [*(metric * weight / count for metric in metrics.values()), float(self._here)]
        )
        self._anywhere = self._anywhere or pressed > 0
        return dict(zip(metrics, means, strict=True))

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
