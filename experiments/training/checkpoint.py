"""Stops and continues a training: checkpoints, and Ctrl-C as a request to stop between two steps.

A checkpoint is a dictionary of plain values and tensors, which ``torch.load(weights_only=True)`` reads: opening
one needs no class of this repository and cannot run code. The file is a zip archive, and its comment is the SHA-256
of the rest, because ``torch.load`` does not notice a flipped bit. It holds the settings that made it, and the length
and digest of ``metrics.jsonl``, so that it continues only its own run.
"""

from __future__ import annotations

import hashlib
import io
import signal
import struct
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from experiments import processes
from experiments.errors import ExperimentError
from experiments.run import LENGTH, Run, replace_file

__all__ = ["Damage", "Interrupts", "load", "random_state", "refusal", "restore_random_state", "save"]

EMPTY, SEALED = struct.pack("<H", 0), struct.pack("<H", 64)  # the length of a zip archive's comment, before it


def save(run: Run, path: Path, state: Mapping[str, Any], keep: Path | None = None) -> None:
    """Writes a state of a run atomically, with the run's settings and a digest.

    Raises:
        OSError: The file cannot be written; the old one is kept.
    """
    buffer = io.BytesIO()  # torch.save to a file does not report why a full disk fails
    torch.save({"settings": run.config, **state}, buffer)
    archive = buffer.getvalue()
    digest = hashlib.sha256(archive).hexdigest().encode()
    replace_file(path, archive.removesuffix(EMPTY) + SEALED + digest, keep)


def load(run: Run) -> dict[str, Any]:
    """Reads the last checkpoint of a run onto the CPU.

    Raises:
        ExperimentError: It, the best weights or the metrics are missing, damaged or of another run.
    """
    path = run.checkpoint
    if not path.is_file() and not run.previous.is_file():
        raise ExperimentError(
            f"'{path.parent}' has no checkpoint: it was stopped before it saved one; "
            "start a new run without --resume"
        )
    try:
        files = {run.checkpoint: _read(run.checkpoint)}
        state = files[run.checkpoint]
        _check_metrics(run, state)
        if run.best.is_file():
            files[run.best] = _read(run.best, weights=True)
        elif state.get("best", {}).get("results") and processes.is_writer():
            print(
                f"'{run.best}' is missing: the run continues without the best weights up to step {state['step']}"
            )
    except Damage as damage:
        raise refusal(run, damage) from damage
    for path, each in files.items():
        _check_settings(run, path, each)
    return state


class Damage(Exception):
    """A file with unexpected contents, and what is wrong with them."""

    def __init__(self, path: Path, reason: str | Exception) -> None:
        self.path = path
        if isinstance(reason, Exception):
            line = str(reason).strip().partition("\n")[0].partition(". ")[0]
            reason = f"{type(reason).__name__}: {line}"
        super().__init__(f"'{path}' is damaged ({reason})")


def _read(path: Path, weights: bool = False) -> dict[str, Any]:
    if not path.is_file():
        raise Damage(path, "it is missing")
    content = path.read_bytes()
    archive, seal = content[:-66] + EMPTY, content[-66:]
    if seal != SEALED + hashlib.sha256(archive).hexdigest().encode():
        raise Damage(path, "its digest is wrong, or missing as in earlier versions")
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # the type depends on what is wrong: archive, pickle or tensor
        raise Damage(path, error) from error
    if not isinstance(state, dict) or not isinstance(state.get("settings"), dict):
        raise Damage(path, "it holds no state of a run")
    if ("models" in state) != weights:
        kinds = "the state of a run", "the best weights"
        raise Damage(path, f"it holds {kinds[not weights]} in place of {kinds[weights]}")
    return state


def _check_metrics(run: Run, state: Mapping[str, Any]) -> None:
    """Raises Damage unless ``metrics.jsonl`` begins with the lines that it had at the checkpoint."""
    if (expected := state.get("metrics")) is None:
        return
    path = run.folder / "metrics.jsonl"
    found = path.read_bytes()[: expected["length"]] if path.is_file() else b""
    if len(found) < expected["length"]:
        raise Damage(path, f"expected at least {expected['length']} bytes, got {len(found)}")
    if hashlib.sha256(found).hexdigest() != expected["sha256"]:
        raise Damage(path, "its digest is wrong")


def _check_settings(run: Run, path: Path, state: Mapping[str, Any]) -> None:
    """Raises ExperimentError unless a state was made with the settings of the run, or before it was prolonged."""
    made, now = state["settings"], run.config
    different = [name for name in {**made, **now} if made.get(name) != now.get(name)]
    before = {name: made[name] for name in LENGTH if name in made}
    if different and not (set(different) <= set(LENGTH) and before in run.earlier):
        listed = ", ".join(f"{name} {made.get(name)} instead of {now.get(name)}" for name in different)
        raise ExperimentError(
            f"--resume: '{path}' was made with other settings than those of the run: {listed}; restore the file "
            "or config.json, or start a new run without --resume"
        )


def refusal(run: Run, damage: Damage) -> ExperimentError:
    """Returns the error to raise for a damaged file, which names the last good checkpoint."""
    actions = {run.checkpoint: f"delete '{damage.path}'", run.previous: f"rename it to '{run.checkpoint}'"}
    for path, action in actions.items():
        try:
            state = _read(path)
            _check_metrics(run, state)
        except Damage:
            continue
        if path != damage.path:
            good = f"the last good one is '{path}' of step {state.get('step')}; {action} to continue from it"
            return ExperimentError(f"{damage}; {good}")
    return ExperimentError(f"{damage}; start a new run without --resume")


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
