"""The flags of every chapter and of every training, their valid values, and presets.

A value comes from its flag, or else from the preset, or else from the field's default. ``config.json`` stores the
result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import torch

from experiments.errors import UsageError

__all__ = [
    "UNSAVED",
    "CommonSettings",
    "Settings",
    "as_plain_values",
    "expect",
    "on_a_device",
    "settings_of",
]


@dataclass(frozen=True)
class CommonSettings:
    """Settings of every chapter.

    Args:
        preset: quick finishes within 90 seconds on two cores, full is the run of docs/chapters.md; either sets
            only the flags that you omit.
        backend: Layers and gradients to use: scratch, this repository's; builtin, PyTorch's; twin, both from
            the same weights on the same batches, recording how they differ.
        seed: Seed of the weights, the data order and dropout; the same seed gives the same run.
        device: cpu, cuda, cuda:N, or auto: a GPU if there is one.
        threads: Number of threads to compute with. By default networks whose batches take little work have one,
            and others one for each core; OMP_NUM_THREADS sets it too.
        kernels: Run large calls of this repository's layers as compiled kernels; needs a C++ compiler.
        runs: Folder for the runs; by default runs/ and the chapter's name.
        resume: Folder of a run to continue with its settings.
    """

    preset: Literal["quick", "full"] | None = "quick"
    backend: Literal["scratch", "builtin", "twin"] = "scratch"
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    kernels: bool = False
    runs: Path | None = None
    resume: Path | None = None

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        """Returns the fields that each preset sets; ``self`` holds the given flags."""
        return self.PRESETS

    def of_preset(self) -> Mapping[str, Any]:
        """Returns the fields that the chosen preset sets."""
        return self.presets().get(self.preset, {}) if self.preset else {}

    def check(self) -> None:
        """Raises UsageError for an invalid value."""
        expect(0 <= self.seed < 2**63, "seed", "a whole number from 0 to 2**63 - 1", self.seed)
        for name, value in vars(self).items():
            fits = not isinstance(value, int) or -(2**63) <= value < 2**63
            expect(fits, name, "a whole number of 64 bits", value)
        threads = self.threads
        expect(threads is None or 1 <= threads <= 1024, "threads", "a whole number from 1 to 1024", threads)


@dataclass(frozen=True)
class Settings(CommonSettings):
    """Settings of a training.

    Args:
        epochs: Passes over the training data.
        max_steps: Total training steps; with epochs, stops the run early at this step.
        batch_size: Examples per training step.
        lr: Highest learning rate.
        momentum: Momentum of SGD.
        schedule: Learning rate schedule: constant; cosine, which rises for a tenth of the steps and then falls
            along a cosine to 0; step, which falls to a tenth after half of the steps and again after three
            quarters.
        clip: Maximum norm of the gradient; a larger gradient is scaled down to it.
        accumulate: Number of parts to split a batch into; their gradients are summed, for the same step in less
            memory.
        patience: Number of consecutive evaluations without a lower loss after which training stops.
        dtype: Dtype of weights and computations.
        amp: bf16 computes matrix products and convolutions in bfloat16, by autocast.
        compile: Run the network through torch.compile, except in monitored steps.
        every: Steps between monitored steps, whose gradients and activations TensorBoard shows.
        eval_every: Steps between evaluations; by default one after each epoch.
        save_every: Steps between checkpoints; each evaluation saves one too.
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
        """Returns the fields that the preset sets, without its ``max_steps`` if epochs are given."""
        preset = super().of_preset()
        return preset if self.epochs is None else {k: v for k, v in preset.items() if k != "max_steps"}

    def check(self) -> None:
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
        conflict = self.amp == "bf16" and self.dtype == "float64"
        expect(not conflict, "amp", "none, or --dtype float32 with it", self.amp)

    @property
    def torch_dtype(self) -> torch.dtype:
        return torch.float64 if self.dtype == "float64" else torch.float32


def expect(satisfied: bool, name: str, expected: str, got: object) -> None:
    """Raises UsageError for the flag of a setting unless ``satisfied``."""
    if not satisfied:
        raise UsageError(f"--{name.replace('_', '-')}: expected {expected}, got {got}")


def settings_of(config: CommonSettings, **chosen: Any) -> Settings:
    """Makes the settings of one training in a chapter that derives from `CommonSettings`."""
    common = {
        name: getattr(config, name) for name in ("preset", "backend", "seed", "device", "threads", "kernels")
    }
    return Settings(**common, **chosen)


UNSAVED = ("runs", "resume")

SettingsT = TypeVar("SettingsT", bound=CommonSettings)


def as_plain_values(settings: CommonSettings) -> dict[str, Any]:
    """Returns the contents of ``config.json``: all settings except the paths of the run itself."""
    return {key: value for key, value in asdict(settings).items() if key not in UNSAVED}


def on_a_device(settings: SettingsT) -> SettingsT:
    """Replaces ``auto`` by an explicit device.

    Raises:
        UsageError: The machine does not have the device.
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
        expect((device.index or 0) < count, "device", f"one of this machine ({present})", settings.device)
    return settings
