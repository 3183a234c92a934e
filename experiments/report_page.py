"""What a chapter shows beside its curves: figures and pages of text, in TensorBoard and as files of the run."""

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
from experiments.run import Run

__all__ = ["Album", "markdown_table"]

STORY = "0_story"  # sorts before accuracy and loss, so that TensorBoard opens on it
DPI = 130


class Album:
    """The pages of a run; a context manager.

    They come under ``0_story`` in TensorBoard, and in the folder as ``NAME.png`` and ``NAME.md``.

    Args:
        run: Whose pages these are.
        look_for: The first page: what there is to see, in Markdown. The settings follow it.
    """

    def __init__(self, run: Run, look_for: str) -> None:
        self.run = run
        purge = 0 if run.reopened else None  # a run that is continued shows its pages anew
        self.writer = SummaryWriter(run.folder, purge_step=purge) if processes.is_writer() else None
        rows = [(f"`{key}`", value) for key, value in run.config.items() if value is not None]
        self.page("what_to_look_for", f"{look_for.strip()}\n\n{markdown_table(('setting', 'value'), rows)}")

    def __enter__(self) -> Album:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.writer is not None:
            self.writer.close()

    def figure(self, name: str, figure: Figure) -> None:
        """Shows a figure."""
        figure.set_dpi(DPI)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())[:, :, :3]
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="png")
        self.run.write_bytes(f"{name}.png", buffer.getvalue())
        if self.writer is not None:
            self.writer.add_image(f"{STORY}/{name}", pixels, 0, dataformats="HWC")

    def page(self, name: str, markdown: str) -> None:
        """Shows a page of text."""
        self.run.write_text(f"{name}.md", markdown + "\n")
        if self.writer is not None:
            self.writer.add_text(f"{STORY}/{name}", markdown, 0)

    def table(self, name: str, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Shows a table, and prints it."""
        printed = Table()
        for number, column in enumerate(head):
            printed.add_column(column, justify="right" if number else "left")
        for row in rows:
            printed.add_row(*row)
        print(title)
        Console(highlight=False).print(printed)
        self.page(name, f"**{title}**\n\n{markdown_table(head, rows)}")

    def conclude(self, sentences: Sequence[str]) -> None:
        """Shows what came of it, and prints it."""
        for sentence in sentences:
            print(f"- {sentence}")
        self.page("conclusion", "\n".join(f"- {sentence}" for sentence in sentences))


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; TensorBoard and GitHub both show it as one.

    >>> print(markdown_table(("a", "b"), [(1, 2)]))
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    lines = ["| " + " | ".join(map(str, line)) + " |" for line in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])
