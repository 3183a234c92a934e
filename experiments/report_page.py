"""Figures, tables and text that a chapter writes to TensorBoard and to the folder of its run."""

from __future__ import annotations

import io
from collections.abc import Sequence
from types import TracebackType

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.utils.tensorboard import SummaryWriter

from experiments import processes
from experiments.formatting import markdown_table
from experiments.run import Run
from scratchnet.monitor.open_writer import open_writer

__all__ = ["ReportPage"]

PREFIX = "0_story"  # sorts before accuracy and loss, so that TensorBoard shows it first
DPI = 130


class ReportPage:
    """Writes under ``0_story`` in TensorBoard, and to ``NAME.png`` and ``NAME.md`` in the folder; a context manager.

    Args:
        run: The run to report on.
        look_for: Markdown that tells the reader what to look for. The settings are appended.
    """

    def __init__(self, run: Run, look_for: str) -> None:
        self.run = run
        # A continued run writes everything again.
        self.writer: SummaryWriter | None = open_writer(run.folder, 0) if processes.is_writer() else None
        rows = [(f"`{key}`", value) for key, value in run.config.items() if value is not None]
        self.text("what_to_look_for", f"{look_for.strip()}\n\n{markdown_table(('setting', 'value'), rows)}")

    def __enter__(self) -> ReportPage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.writer is not None:
            self.writer.close()

    def figure(self, name: str, figure: Figure) -> None:
        figure.set_dpi(DPI)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())[:, :, :3]
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="png")
        self.run.write_bytes(f"{name}.png", buffer.getvalue())
        if self.writer is not None:
            self.writer.add_image(f"{PREFIX}/{name}", pixels, 0, dataformats="HWC")

    def text(self, name: str, markdown: str) -> None:
        self.run.write_text(f"{name}.md", markdown + "\n")
        if self.writer is not None:
            self.writer.add_text(f"{PREFIX}/{name}", markdown, 0)

    def table(self, name: str, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Writes a table, and prints it."""
        printed = Table()
        for number, column in enumerate(head):
            printed.add_column(column, justify="right" if number else "left")
        for row in rows:
            printed.add_row(*row)
        print(title)
        Console(highlight=False).print(printed)
        self.text(name, f"**{title}**\n\n{markdown_table(head, rows)}")

    def conclude(self, sentences: Sequence[str]) -> None:
        """Writes the conclusions as a list, and prints them."""
        lines = [f"- {sentence}" for sentence in sentences]
        print("\n".join(lines))
        self.text("conclusion", "\n".join(lines))
