"""The source of Python's standard library as a text corpus, available on every machine."""

from __future__ import annotations

import sys
import sysconfig
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from experiments.errors import ExperimentError

__all__ = ["CHARACTERS", "Source", "decode", "encode", "standard_library"]

CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))
HELD_OUT = 20  # every twentieth file
LEFT_OUT = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "__pycache__"}
_CODES = bytes(max(CHARACTERS.find(chr(byte)), 0) for byte in range(128)).ljust(256, b"\0")


@dataclass(frozen=True)
class Source:
    """The files, concatenated, as character codes: uint8 tensors of one dimension.

    Attributes:
        train: Training text.
        test: Held-out files.
        files: Number of files in both.
    """

    train: Tensor
    test: Tensor
    files: int

    def __str__(self) -> str:
        python = ".".join(map(str, sys.version_info[:3]))
        return (
            f"the standard library of Python {python}, {self.files} files "
            f"({len(self.train):,} training characters, {len(self.test):,} held out)"
        )


@cache
def standard_library() -> Source:
    """Reads all modules of the standard library except its tests and tools, sorted by name.

    Raises:
        ExperimentError: This Python has no source of its library.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    paths = sorted(path for path in folder.rglob("*.py") if not LEFT_OUT & set(path.relative_to(folder).parts))
    if len(paths) <= HELD_OUT:
        raise ExperimentError(
            f"expected the source of Python's standard library in '{folder}', found {len(paths)} files; "
            "use a Python that is installed with its library's .py files"
        )
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in paths]
    held_out = texts[::HELD_OUT]
    del texts[::HELD_OUT]
    return Source(encode("".join(texts)), encode("".join(held_out)), len(paths))


def encode(text: str) -> Tensor:
    r"""Encodes each character as uint8; tabs become spaces, and characters outside ASCII become question marks.

    >>> encode("if x:\n")
    tensor([74, 71,  1, 89, 27,  0], dtype=torch.uint8)
    """
    plain = text.expandtabs(8).encode("ascii", "replace").translate(_CODES)
    return torch.frombuffer(bytearray(plain), dtype=torch.uint8)


def decode(codes: Tensor) -> str:
    """Decodes the codes of `encode`.

    >>> decode(encode("return self"))
    'return self'
    """
    return "".join(CHARACTERS[code] for code in codes.tolist())
