"""The handwritten digits of MNIST: loading, normalization and augmentation."""

from __future__ import annotations

import contextlib
import http.client
import io
import math
import os
import socket
import tempfile
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from experiments import processes
from experiments.data.sample import read_sample
from experiments.errors import ExperimentError, UsageError

__all__ = ["DOWNLOADS", "SAMPLE", "Digits", "jitter", "load_digits", "normalize"]

SAMPLE = "sample"  # value of ``source`` for the bundled sample
DOWNLOADS = Path("data")
LAYOUT = "MNIST/raw/train-images-idx3-ubyte"
MEAN, STD = 0.1307, 0.3081  # of the pixels of the training set, on the scale from 0 to 1
CONNECT_SECONDS, STALL_SECONDS = 2.0, 15.0


@dataclass(frozen=True)
class Digits:
    """Images as stored, with labels and their source.

    Attributes:
        train_images: uint8, shape (N, 28, 28).
        train_labels: int64, shape (N,), values 0 to 9.
        test_images: uint8, shape (M, 28, 28).
        test_labels: int64, shape (M,), values 0 to 9.
        source: The argument with which `load_digits` finds the same digits again: a folder or ``"sample"``.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    source: str

    def __post_init__(self) -> None:
        for name, count in (("train", len(self.train_labels)), ("test", len(self.test_labels))):
            images, labels = getattr(self, f"{name}_images"), getattr(self, f"{name}_labels")
            if images.dtype != torch.uint8 or images.shape != (count, 28, 28) or not count:
                raise ValueError(
                    f"expected {count} {name} images of 28x28 bytes, got {images.dtype} {tuple(images.shape)}"
                )
            if labels.dtype != torch.int64 or int(labels.min()) < 0 or int(labels.max()) > 9:
                raise ValueError(f"expected {name} labels from 0 to 9, got {labels.min()} to {labels.max()}")

    def __str__(self) -> str:
        place = "bundled sample" if self.source == SAMPLE else self.source
        return f"{place} ({len(self.train_labels)} training and {len(self.test_labels)} test digits)"


def normalize(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Converts bytes (B, 28, 28) to network inputs (B, 1, 28, 28) with mean 0 and standard deviation 1 over MNIST."""
    return images.unsqueeze(1).to(dtype).div_(255).sub_(MEAN).div_(STD)


def jitter(images: Tensor, *, shift: float = 2.0, degrees: float = 10.0, scale: float = 0.1) -> Tensor:
    r"""Shifts, rotates and scales each image at random, with uniform draws from torch's CPU generator.

    .. math::
        y(p) = x(A p + t), \qquad A = s \begin{pmatrix} \cos\phi & -\sin\phi \\ \sin\phi & \cos\phi \end{pmatrix}

    with an angle φ, a scale s and a shift t for each image. The pixel positions p are relative to the center; x is
    interpolated bilinearly and continued beyond its edge by its border pixels.

    Args:
        images: Images of shape (B, C, H, W).
        shift: Maximum shift in each direction, in pixels.
        degrees: Maximum rotation.
        scale: Maximum relative change of size.
    """
    draw = (2 * torch.rand(4, len(images)) - 1).to(images)
    angle, size = math.radians(degrees) * draw[0], 1 + scale * draw[1]
    cosine, sine = size * angle.cos(), size * angle.sin()
    height, width = images.shape[2:]
    right, down = 2 * shift / width * draw[2], 2 * shift / height * draw[3]  # the image spans 2
    rows = torch.stack([cosine, -sine, right, sine, cosine, down], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(rows, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def load_digits(source: str | None) -> tuple[Digits, str | None]:
    """Loads the digits; also returns a notice if the sample is used although nobody chose it.

    Only one of several processes downloads.

    Args:
        source: A folder in torchvision's layout, ``"sample"``, or ``None`` for `DOWNLOADS`, downloading the
            full set if needed and falling back to the sample.

    Raises:
        UsageError: ``source`` is not a folder that contains MNIST.
        ExperimentError: Its files are damaged.
    """
    return processes.writer_first(lambda: _load(source))


def _load(source: str | None) -> tuple[Digits, str | None]:
    if source == SAMPLE:
        return _sample(), None
    if source is not None:
        return _chosen(source), None
    with contextlib.suppress(*_DAMAGED):
        return _read(DOWNLOADS), None
    try:
        _download(DOWNLOADS)
        return _read(DOWNLOADS), None
    except _DAMAGED as error:
        digits = _sample()
        return digits, (
            f"no usable MNIST in {DOWNLOADS}/ and no download ({_reason(error)}): training on the {digits}; "
            "pass --data DIR for a copy of the full set"
        )


# Errors that torchvision's reader raises for missing or damaged files.
_DAMAGED = (RuntimeError, ValueError, AssertionError, LookupError, OSError, http.client.HTTPException)


def _sample() -> Digits:
    tensors = {name: tensor.long() if "labels" in name else tensor for name, tensor in read_sample().items()}
    return Digits(**tensors, source=SAMPLE)


def _chosen(source: str) -> Digits:
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise UsageError(
            f"--data: expected a folder that holds {LAYOUT}, got {source!r}, which is no folder; "
            "leave --data out to download MNIST, or pass --data sample"
        )
    if not (folder / LAYOUT).is_file():
        raise UsageError(
            f"--data: expected a folder that holds {LAYOUT}, got {source!r}, which has none; "
            "pass the folder above MNIST/, or leave --data out to download it"
        )
    try:
        return _read(folder)
    except _DAMAGED as error:
        raise ExperimentError(
            f"--data: the MNIST in {source!r} is incomplete or damaged ({_reason(error)}); "
            "download its files again, or leave --data out to download them"
        ) from error


def _read(folder: Path) -> Digits:
    from experiments.data.vision import datasets

    train, test = (datasets.MNIST(folder, train=train) for train in (True, False))
    return Digits(train.data, train.targets, test.data, test.targets, source=str(folder.resolve()))


def _download(folder: Path) -> None:
    """Downloads MNIST by torchvision, and moves the files into place once all are complete."""
    from experiments.data.vision import datasets

    _probe(datasets.MNIST.mirrors)
    folder.mkdir(parents=True, exist_ok=True)
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as unfinished:
            print(f"downloading MNIST (11 MB) into {folder}/", flush=True)
            with contextlib.redirect_stderr(io.StringIO()):  # torchvision draws a progress bar for each file
                fetched = datasets.MNIST(unfinished, download=True)
            raw = folder / "MNIST" / "raw"
            raw.mkdir(parents=True, exist_ok=True)
            for file in Path(fetched.raw_folder).iterdir():
                os.replace(file, raw / file.name)
    finally:
        socket.setdefaulttimeout(patience)


def _probe(mirrors: list[str]) -> None:
    """Raises OSError unless a mirror answers soon.

    Probes in threads, because no timeout of Python's covers name resolution, which can take minutes without a
    network.
    """
    answers: list[Any] = []

    def ask(url: str) -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            urllib.request.urlopen(request, timeout=CONNECT_SECONDS).close()
        except urllib.error.HTTPError as error:  # the mirror answered, although it does not list its folder
            error.close()
        except (OSError, http.client.HTTPException) as error:
            answers.append(error)
            return
        answers.append(None)

    threads = [threading.Thread(target=ask, args=(mirror,), daemon=True) for mirror in mirrors]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + CONNECT_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
        if None in answers:
            return
    raise answers[0] if answers else TimeoutError(f"no answer within {CONNECT_SECONDS:.0f} seconds")


def _reason(error: BaseException) -> str:
    """Returns the last line of an error's message, or its type if the message is empty."""
    cause = getattr(error, "reason", error)
    lines = str(cause).strip().splitlines()
    return lines[-1].strip() if lines else type(cause).__name__
