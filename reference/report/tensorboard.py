"""Writes a comparison to TensorBoard: errors as scalars, the table as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from reference.check import OpCheck
from reference.report.markdown import markdown
from reference.report.summary import COLUMNS, VALUES, accuracy, cells, dtype_name

__all__ = ["write_tensorboard"]


def write_tensorboard(folder: Path, results: Sequence[OpCheck], complaints: Sequence[str]) -> None:
    """Writes scalars ``error/COLUMN/OP``, one run for each dtype so that they overlay, and the table."""
    with SummaryWriter(folder) as writer:
        writer.add_text("comparison", markdown(results, complaints))
    for dtype in dict.fromkeys(r.dtype for r in results):
        with SummaryWriter(folder / dtype_name(dtype)) as writer:
            for result in (r for r in results if r.dtype is dtype):
                for column, found in zip(COLUMNS, cells(result), strict=True):
                    if found.compared:
                        writer.add_scalar(f"error/{column}/{result.name}", found.largest, 0)
                if (errors := accuracy(result, *VALUES)) is not None:
                    writer.add_scalar(f"units in the last place/{result.name}", errors.ours, 0)
                    writer.add_scalar(f"units of the built-in/{result.name}", errors.builtin, 0)
                writer.add_scalar(f"agrees/{result.name}", float(result.ok), 0)
