"""The folder of one run of a chapter.

``config.json``     the settings, from which ``--resume`` continues
``metrics.jsonl``   a line for each training step and each evaluation
``checkpoint.pt``   the last saved state, and ``best.pt`` the best weights; see `experiments.training`
``summary.json``    the result, at the end of the run
``events.out.*``    TensorBoard's files, in a subfolder for each network if there are two

A chapter that trains several networks has a subfolder with these files for each, a `part`, with ``part.json``
instead of ``config.json``. With several processes only the writer process writes.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments import processes
from experiments.errors import ExperimentError, UsageError
from experiments.settings import CommonSettings, as_plain_values

__all__ = ["Run", "replace_file", "writing"]


class Run:
    """An open run folder; `create` makes one and `reopen` continues one.

    Attributes:
        folder: Path of the folder.
        chapter: Name of the chapter.
        config: The settings, as plain values.
        part_name: Name of the part; empty for a whole run.
        reopened: Whether an earlier process created it.
    """

    def __init__(
        self,
        folder: Path,
        chapter: str,
        config: Mapping[str, Any],
        *,
        parent: Run | None = None,
        reopened: bool = False,
    ) -> None:
        self.folder, self.chapter, self.config, self.reopened = folder, chapter, dict(config), reopened
        self._parent = self if parent is None else parent
        self.part_name = "" if parent is None else folder.name

    @classmethod
    def create(cls, settings: CommonSettings, chapter: str, label: str = "") -> Run:
        """Makes the folder ``chapter-label-NNN`` in ``settings.runs``, with the first free number.

        The label is the backend by default.

        Raises:
            ExperimentError: The folder cannot be written.
        """
        config = as_plain_values(settings)
        folder = processes.share(lambda: _new_folder(settings.runs, f"{chapter}-{label or settings.backend}"))
        run = cls(folder, chapter, config)
        run.write_json("config.json", {"chapter": chapter, **config})
        return run

    @classmethod
    def reopen(cls, folder: Path) -> Run:
        """Opens a folder that `create` made.

        Raises:
            UsageError: ``folder`` is not the folder of a run.
            ExperimentError: Its ``config.json`` is damaged.
        """
        if not folder.is_dir():
            raise UsageError(f"--resume: expected the folder of a run, got '{folder}', which does not exist")
        path = folder / "config.json"
        if not path.is_file():
            raise UsageError(
                f"--resume: expected the folder of a run, got '{folder}', which has no config.json; "
                "pass a folder such as runs/mnist-cnn-scratch-001, or start a new run without --resume"
            )
        try:
            config = json.loads(path.read_text())
            chapter = config.pop("chapter")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ExperimentError(
                f"'{path}' is damaged ({type(error).__name__}: {error}); start a new run without --resume"
            ) from error
        return cls(folder, chapter, config, reopened=True)

    def part(self, name: str, **facts: Any) -> Run:
        """Returns the subfolder of one network; ``facts`` are added to its settings."""
        folder = self.folder / name
        # A part without a checkpoint starts again.
        reopened = processes.share(lambda: (folder / "checkpoint.pt").is_file())
        if processes.is_writer():
            with writing(folder, "choose another folder with --runs DIR"):
                folder.mkdir(exist_ok=True)
        return Run(folder, self.chapter, {**self.config, "part": name, **facts}, parent=self, reopened=reopened)

    def subfolder(self, name: str) -> Run:
        """Returns the subfolder of one of two networks that are trained side by side."""
        return Run(self.folder / name, self.chapter, self.config, parent=self._parent, reopened=self.reopened)

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    @property
    def best(self) -> Path:
        return self.folder / "best.pt"

    @property
    def finished(self) -> bool:
        return (self.folder / "summary.json").is_file()

    def resume_command(self) -> str:
        """Returns the command that continues the run."""
        count = processes.size()
        python = "python" if count == 1 else f"torchrun --nproc-per-node {count}"
        return f"{python} -m experiments {self.chapter} --resume {self._parent.folder}"

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Writes ``summary.json``, which marks the run as finished, and prints its folder."""
        self.write_json("summary.json", summary)
        print(f"run folder: {self.folder}")
        print(f"view it with: tensorboard --logdir {shlex.quote(str(self.folder))}")

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        self.write_text(name, json.dumps(content, indent=2) + "\n")

    def write_text(self, name: str, text: str) -> None:
        self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, content: bytes) -> None:
        """Writes a file of the folder atomically.

        Raises:
            ExperimentError: The folder cannot be written.
        """
        if processes.is_writer():
            with writing(self.folder, f"free some space, then continue with: {self.resume_command()}"):
                replace_file(self.folder / name, content)


def _new_folder(runs: Path, name: str) -> Path:
    with writing(runs, "choose another folder with --runs DIR"):
        runs.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            folder = runs / f"{name}-{number:03d}"
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                number += 1


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file atomically: after an interruption it has either its old or its new content."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def writing(folder: Path, remedy: str) -> Iterator[None]:
    """Converts an OSError into an ExperimentError that names the folder, the reason and a remedy."""
    try:
        yield
    except OSError as error:
        raise ExperimentError(f"cannot write to '{folder}': {error.strerror or error}; {remedy}") from error
