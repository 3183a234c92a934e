"""Saving the state of a training run, whole or not at all, and reading it back.

A checkpoint is a dictionary of plain values and tensors, so that ``torch.load(weights_only=True)`` reads it: no
class of this repository is needed to open one, and none of its code can run in doing so.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.errors import ExperimentError
from experiments.run import replace_file

__all__ = ["damaged", "load", "random_state", "restore_random_state", "save"]


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes the state; a kill at any moment leaves the old checkpoint or the new one.

    Raises:
        OSError: it cannot be written; the old one is then still there.
    """
    buffer = io.BytesIO()  # torch.save into a file turns a full disk into an error without a reason
    torch.save(state, buffer)
    replace_file(path, buffer.getvalue())


def load(path: Path) -> dict[str, Any]:
    """Reads a state back, onto the CPU.

    Raises:
        ExperimentError: there is no checkpoint, or it is damaged.
    """
    if not path.is_file():
        raise ExperimentError(
            f"'{path.parent}' has no checkpoint: it was stopped before it saved one; "
            "start a new run without --resume"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails wherever the damage is: as an archive, a pickle, a tensor
        raise damaged(path, error) from error
    if not isinstance(state, dict):
        raise damaged(path, TypeError(f"expected a dictionary, got {type(state).__name__}"))
    return state


def damaged(path: Path, error: Exception) -> ExperimentError:
    """The error for a checkpoint that does not hold what it should."""
    reason = str(error).strip().partition("\n")[0].partition(". ")[0]
    return ExperimentError(
        f"'{path}' is damaged ({type(error).__name__}: {reason}); start a new run without --resume"
    )


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The state of every random generator that training on ``device`` draws from."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Takes the generators back to a state that `random_state` gave."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
