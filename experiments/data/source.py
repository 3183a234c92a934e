"""The source of Python's own standard library, as a text to learn a language from; it is on every machine."""

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
HELD_OUT = 20  # one file in so many
LEFT_OUT = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "__pycache__"}
_CODES = bytes(max(CHARACTERS.find(chr(byte)), 0) for byte in range(128)).ljust(256, b"\0")


@dataclass(frozen=True)
class Source:
    """Files one after the other, as character codes: uint8 tensors of one dimension.

    Attributes:
        train: To learn from.
        test: Whole files that `train` has nothing of.
        files: How many there are in both.
    """

    train: Tensor
    test: Tensor
    files: int

    def __str__(self) -> str:
        python = ".".join(map(str, sys.version_info[:3]))
        return (
            f"the standard library of Python {python}, {self.files} files "
            f"({len(self.train):,} characters to learn from, {len(self.test):,} held out)"
        )


@cache
def standard_library() -> Source:
    """All modules of this Python's standard library but its tests and tools, in the order of their names.

    Raises:
        ExperimentError: This Python came without the source of its library.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    paths = sorted(path for path in folder.rglob("*.py") if not LEFT_OUT & set(path.relative_to(folder).parts))
    if len(paths) <= HELD_OUT:
        raise ExperimentError(
            f"expected the source of Python's standard library in '{folder}', found {len(paths)} files; "
            "run on a Python that was installed with its library's .py files"
        )
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in paths]
    held_out = texts[::HELD_OUT]
    del texts[::HELD_OUT]
    return Source(encode("".join(texts)), encode("".join(held_out)), len(paths))


def encode(text: str) -> Tensor:
    r"""A code for each character, uint8; tabs are spelled as spaces, and all that is not ASCII as a question mark.

    >>> encode("if x:\n")
    tensor([74, 71,  1, 89, 27,  0], dtype=torch.uint8)
    """
    plain = text.expandtabs(8).encode("ascii", "replace").translate(_CODES)
    return torch.frombuffer(bytearray(plain), dtype=torch.uint8)


def decode(codes: Tensor) -> str:
    """The text again.

    >>> decode(encode("return self"))
    'return self'
    """
    return "".join(CHARACTERS[code] for code in codes.tolist())
