"""The flags that every chapter has, and those of every training run; what they may be, and what presets make of them.

A value comes from its flag; failing that from the preset; failing that from the field's default. ``config.json``
holds the outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import torch

from experiments.errors import UsageError

__all__ = [
    "NOT_OF_THE_RUN",
    "CommonSettings",
    "Settings",
    "as_plain_values",
    "expect",
    "on_a_device",
    "settings_of",
]


@dataclass(frozen=True)
class CommonSettings:
    """What every chapter is asked for.

    Args:
        preset: quick ends within 90 seconds on two cores, full shows what the chapter is about; either only sets
            the flags that you leave out.
        backend: Whose layers and gradients: scratch, those of this repository; builtin, PyTorch's; twin, both from
            the same weights on the same batches, with a record of how far they drift apart.
        seed: Of the weights, the order of the data and dropout; the same seed gives the same run.
        device: cpu, cuda, cuda:N, or auto: the GPU where there is one.
        runs: Where the folders of the runs are.
        resume: Folder of a run to continue; its settings stay as they were.
    """

    preset: Literal["quick", "full"] | None = "quick"
    backend: Literal["scratch", "builtin", "twin"] = "scratch"
    seed: int = 0
    device: str = "auto"
    runs: Path = Path("runs")
    resume: Path | None = None

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        """What each preset sets, by name of field; ``self`` holds the flags that were given."""
        return self.PRESETS

    def of_preset(self) -> Mapping[str, Any]:
        """What the chosen preset sets, by name of field."""
        return self.presets().get(self.preset, {}) if self.preset else {}

    def check(self) -> None:
        """Raises UsageError for a value out of range."""
        expect(0 <= self.seed < 2**63, "seed", "a whole number from 0 to 2**63 - 1", self.seed)
        for name, value in vars(self).items():
            fits = not isinstance(value, int) or -(2**63) <= value < 2**63
            expect(fits, name, "a whole number of 64 bits", value)


@dataclass(frozen=True)
class Settings(CommonSettings):
    """What a training run is asked for.

    Args:
        epochs: Passes over the training data.
        max_steps: Training steps in all; with epochs, the first ones of the run that these ask for.
        batch_size: Examples in a training step.
        lr: Learning rate at its highest.
        momentum: Momentum of SGD.
        schedule: Of the learning rate: constant; cosine, which rises for a tenth of the steps and then falls along a
            cosine to 0; step, which falls to a tenth after half of the steps and again after three quarters.
        clip: Norm of the gradient at most; a longer one is shortened to it.
        accumulate: Parts into which a batch is cut, whose gradients are added up: the same step in less memory.
        patience: Evaluations in a row without a lower loss after which training stops early.
        dtype: What weights are kept and computed in.
        amp: bf16 computes matrix products and convolutions in bfloat16, by autocast.
        compile: Run the network through torch.compile, except for the steps that are watched.
        every: Steps between the watched ones, whose gradients and activations TensorBoard shows.
        eval_every: Steps between evaluations; by default there is one after each epoch.
        save_every: Steps between checkpoints; there is one after each evaluation too.
        projector: Show the last hidden layer's outputs for test examples in TensorBoard's projector.
    """

    epochs: int | None = None
    max_steps: int | None = None
    batch_size: int = 64
    lr: float | None = None
    momentum: float = 0.9
    schedule: Literal["constant", "cosine", "step"] = "cosine"
    clip: float | None = None
    accumulate: int = 1
    patience: int | None = None
    dtype: Literal["float32", "float64"] = "float32"
    amp: Literal["none", "bf16"] = "none"
    compile: bool = False
    every: int = 50
    eval_every: int | None = None
    save_every: int = 200
    projector: bool = False

    def of_preset(self) -> Mapping[str, Any]:
        """What the preset sets; its length gives way to epochs that are asked for."""
        preset = super().of_preset()
        return preset if self.epochs is None else {k: v for k, v in preset.items() if k != "max_steps"}

    def check(self) -> None:
        """Raises UsageError for a value out of range."""
        super().check()
        whole = (
            "epochs",
            "max_steps",
            "batch_size",
            "accumulate",
            "patience",
            "every",
            "eval_every",
            "save_every",
        )
        for name in whole:
            value = getattr(self, name)
            expect(value is None or value >= 1, name, "a whole number from 1 up", value)
        for name, such_as in (("lr", 0.05), ("clip", 1.0)):
            value = getattr(self, name)
            expect(value is None or 0 < value < float("inf"), name, f"a number above 0, such as {such_as}", value)
        expect(0 <= self.momentum < 1, "momentum", "a number from 0 up to, but not including, 1", self.momentum)
        twice = self.amp == "bf16" and self.dtype == "float64"
        expect(not twice, "amp", "none, or --dtype float32 beside it", self.amp)

    @property
    def torch_dtype(self) -> torch.dtype:
        """What to compute in, as torch knows it."""
        return torch.float64 if self.dtype == "float64" else torch.float32


def expect(satisfied: bool, name: str, expected: str, got: object) -> None:
    """Raises UsageError for the flag of a setting that is not what it should be."""
    if not satisfied:
        raise UsageError(f"--{name.replace('_', '-')}: expected {expected}, got {got}")


def settings_of(config: CommonSettings, **chosen: Any) -> Settings:
    """The settings of one training of a chapter's own making."""
    return Settings(preset=config.preset, backend=config.backend, seed=config.seed, device=config.device, **chosen)


NOT_OF_THE_RUN = ("runs", "resume")

SettingsT = TypeVar("SettingsT", bound=CommonSettings)


def as_plain_values(settings: CommonSettings) -> dict[str, Any]:
    """What ``config.json`` holds: every setting but those that say where the run is and not what it does."""
    return {key: value for key, value in asdict(settings).items() if key not in NOT_OF_THE_RUN}


def on_a_device(settings: SettingsT) -> SettingsT:
    """The same settings with the device spelled out.

    Raises:
        UsageError: this machine has no such device.
    """
    if settings.device == "auto":
        return replace(settings, device="cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(settings.device)
    except RuntimeError:
        device = None
    usable = device is not None and device.type in ("cpu", "cuda")
    expect(usable, "device", "auto, cpu, cuda or cuda:N", settings.device)
    assert device is not None
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        present = ", ".join(["cpu", *(f"cuda:{i}" for i in range(count))])
        expect((device.index or 0) < count, "device", f"one that is here ({present})", settings.device)
    return settings
