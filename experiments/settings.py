"""The flags that every training run has, and what they may be."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from experiments.errors import UsageError

__all__ = ["NOT_OF_THE_RUN", "Settings", "as_plain_values", "expect", "on_a_device"]


@dataclass(frozen=True)
class Settings:
    """What a training run is asked for.

    Args:
        epochs: Passes over the training data.
        batch_size: Examples in a training step.
        lr: Learning rate of SGD at its highest; it rises for a tenth of the steps and falls along a cosine.
        momentum: Momentum of SGD.
        seed: Of the weights, the order of the data and dropout; the same seed gives the same run.
        max_steps: Training steps at most: the first ones of the run that epochs asks for.
        dtype: What to compute in.
        device: cpu, cuda or cuda:N; by default the GPU where there is one.
        every: Steps between the watched ones, whose gradients and activations TensorBoard shows.
        save_every: Steps between checkpoints; there is one after each epoch too.
        runs: Where the folders of the runs are.
        resume: Folder of a run to continue; its settings stay as they were.
    """

    epochs: int | None = None
    batch_size: int = 64
    lr: float | None = None
    momentum: float = 0.9
    seed: int = 0
    max_steps: int | None = None
    dtype: Literal["float32", "float64"] = "float32"
    device: str | None = None
    every: int = 50
    save_every: int = 200
    runs: Path = Path("runs")
    resume: Path | None = None

    def check(self) -> None:
        """Raises UsageError for a value out of range."""
        for name in ("epochs", "batch_size", "max_steps", "every", "save_every"):
            value = getattr(self, name)
            expect(value is None or value >= 1, name, "a whole number from 1 up", value)
        expect(self.lr is None or 0 < self.lr < float("inf"), "lr", "a number above 0, such as 0.05", self.lr)
        expect(0 <= self.momentum < 1, "momentum", "a number from 0 up to, but not including, 1", self.momentum)
        expect(0 <= self.seed < 2**63, "seed", "a whole number from 0 to 2**63 - 1", self.seed)

    @property
    def torch_dtype(self) -> torch.dtype:
        """What to compute in, as torch knows it."""
        return torch.float64 if self.dtype == "float64" else torch.float32


def expect(satisfied: bool, name: str, expected: str, got: object) -> None:
    """Raises UsageError for the flag of a setting that is not what it should be."""
    if not satisfied:
        raise UsageError(f"--{name.replace('_', '-')}: expected {expected}, got {got}")


NOT_OF_THE_RUN = ("runs", "resume")

SettingsT = TypeVar("SettingsT", bound=Settings)


def as_plain_values(settings: Settings) -> dict[str, Any]:
    """What ``config.json`` holds: every setting but those that say where the run is and not what it does."""
    return {key: value for key, value in asdict(settings).items() if key not in NOT_OF_THE_RUN}


def on_a_device(settings: SettingsT) -> SettingsT:
    """The same settings with the device spelled out.

    Raises:
        UsageError: this machine has no such device.
    """
    if settings.device is None:
        return replace(settings, device="cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(settings.device)
    except RuntimeError:
        device = None
    expect(device is not None and device.type in ("cpu", "cuda"), "device", "cpu, cuda or cuda:N", settings.device)
    assert device is not None
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        present = ", ".join(["cpu", *(f"cuda:{i}" for i in range(count))])
        expect((device.index or 0) < count, "device", f"one that is here ({present})", settings.device)
    return settings
