"""A sample of 6,000 MNIST digits that is part of the repository, for use without a network.

``python -m experiments.data.sample DIR`` draws it again from the full set in DIR, bit for bit. ``sample.txt``
names the authors and the license.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

__all__ = ["SAMPLE", "draw", "read_sample"]

SAMPLE = Path(__file__).with_name("sample.npz")
TRAIN_PER_CLASS, TEST_PER_CLASS = 500, 100


def draw(labels: Tensor, per_class: int) -> Tensor:
    """Returns the indices of ``per_class`` examples of each class, evenly spaced over the set and in its order.

    The selection uses no random numbers, so that every version of every library draws the same; MNIST is already
    shuffled.

    >>> draw(torch.tensor([0, 1, 0, 1, 0, 1, 0, 1]), per_class=2)
    tensor([0, 1, 4, 5])
    """
    chosen = []
    for label in labels.unique():
        (members,) = torch.where(labels == label)
        chosen.append(members[torch.arange(per_class) * len(members) // per_class])
    return torch.cat(chosen).sort().values


def read_sample() -> dict[str, Tensor]:
    """Returns ``train_images``, ``train_labels``, ``test_images`` and ``test_labels``."""
    with np.load(SAMPLE) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def write_sample(root: str) -> None:
    """Draws the sample from the full MNIST under ``root`` and writes it to `SAMPLE`."""
    from experiments.data.vision import datasets

    with zipfile.ZipFile(SAMPLE, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for split, per_class in (("train", TRAIN_PER_CLASS), ("test", TEST_PER_CLASS)):
            full = datasets.MNIST(root, train=split == "train")
            chosen = draw(full.targets, per_class)
            arrays = {"images": full.data[chosen].numpy(), "labels": full.targets[chosen].numpy().astype(np.uint8)}
            for name, array in arrays.items():
                buffer = io.BytesIO()
                np.save(buffer, array)
                # A new ZipInfo has a fixed time stamp, which makes the file reproducible.
                archive.writestr(zipfile.ZipInfo(f"{split}_{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    write_sample(sys.argv[1])
