"""How far training is: a bar in a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["TrainingProgress"]

SECONDS_BETWEEN_LINES = 15.0


class TrainingProgress:
    """Shows steps done of steps to do; a context manager, so that the terminal is left as it was.

    Args:
        title: What is trained, where it is one of several; each line begins with it.
        done: Steps done before.
        total: Steps to do in all.
    """

    def __init__(self, title: str, done: int, total: int) -> None:
        self.title = f"{title}  " if title else ""
        self.console = Console(highlight=False, soft_wrap=True)
        self.total = total
        self.last_line = time.monotonic()
        self.bar: Progress | None = None
        if self.console.is_terminal:
            columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
            self.bar = Progress(*columns, console=self.console, transient=True)
            self.task = self.bar.add_task("", completed=done, total=total)

    def show(self, step: int, figures: str) -> None:
        """Shows that a step is done, and figures on how it went."""
        if self.bar is not None:
            self.bar.update(self.task, completed=step, description=self.title + figures)
        elif time.monotonic() - self.last_line > SECONDS_BETWEEN_LINES:
            self.say(f"step {step}/{self.total}  {figures}")

    def say(self, line: str) -> None:
        """Prints a line, above the bar where there is one."""
        self.console.print(self.title + line, markup=False)
        self.console.file.flush()
        self.last_line = time.monotonic()

    def __enter__(self) -> TrainingProgress:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()
