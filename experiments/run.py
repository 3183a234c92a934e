"""The folder of one run of a chapter.

``config.json``     what the run was asked for, from which ``--resume`` starts
``metrics.jsonl``   a line for each training step and each evaluation
``checkpoint.pt``   the last saved state, and ``best.pt`` the best weights; see `experiments.training`
``summary.json``    the result, once there is one
``events.out.*``    TensorBoard's records, in a subfolder for each network where there are two

A chapter that trains several networks has a subfolder for each, a `part`, with these files, and ``part.json`` in place
of ``config.json``.
Where several processes train together, only the writer writes.
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
        folder: Where it is.
        chapter: The chapter that it is a run of.
        config: What the run was asked for, as plain values.
        part_name: Of a part, what sets it apart from the others; else empty.
        reopened: Whether an earlier process began it.
    """

    def __init__(
        self,
        folder: Path,
        chapter: str,
        config: Mapping[str, Any],
        *,
        whole: Run | None = None,
        reopened: bool = False,
    ) -> None:
        self.folder, self.chapter, self.config, self.reopened = folder, chapter, dict(config), reopened
        self._whole = self if whole is None else whole
        self.part_name = "" if whole is None else folder.name

    @classmethod
    def create(cls, settings: CommonSettings, chapter: str, label: str = "") -> Run:
        """Makes the folder ``chapter-label-NNN`` where the settings say, with the first number that is free.

        Without a label it is the backend.

        Raises:
            ExperimentError: it cannot be written.
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
            UsageError: ``folder`` is none.
            ExperimentError: its ``config.json`` cannot be read.
        """
        if not folder.is_dir():
            raise UsageError(f"--resume: expected the folder of a run, got '{folder}', which does not exist")
        path = folder / "config.json"
        if not path.is_file():
            raise UsageError(
                f"--resume: expected the folder of a run, got '{folder}', which has no config.json; "
                "name a folder such as runs/mnist-cnn-scratch-001, or start a new run without --resume"
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
        """The subfolder of one of several networks; ``facts``, beside its settings, set it apart from the others."""
        folder = self.folder / name
        # A part that was made but never saved begins again.
        reopened = processes.share(lambda: (folder / "checkpoint.pt").is_file())
        if processes.is_writer():
            with writing(folder, "--runs DIR names another place"):
                folder.mkdir(exist_ok=True)
        return Run(folder, self.chapter, {**self.config, "part": name, **facts}, whole=self, reopened=reopened)

    def subfolder(self, name: str) -> Run:
        """A subfolder that belongs to one of the networks that are trained side by side."""
        return Run(self.folder / name, self.chapter, self.config, whole=self._whole, reopened=self.reopened)

    @property
    def checkpoint(self) -> Path:
        """Where the state is saved."""
        return self.folder / "checkpoint.pt"

    @property
    def best(self) -> Path:
        """Where the weights of the best evaluation are saved."""
        return self.folder / "best.pt"

    @property
    def finished(self) -> bool:
        """Whether the result is there."""
        return (self.folder / "summary.json").is_file()

    def resume_command(self) -> str:
        """What to type to continue the run."""
        count = processes.size()
        python = "python" if count == 1 else f"torchrun --nproc-per-node {count}"
        return f"{python} -m experiments {self.chapter} --resume {self._whole.folder}"

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Writes ``summary.json``, which ends the run, and says where to look."""
        self.write_json("summary.json", summary)
        print(f"run folder: {self.folder}")
        print(f"to look at it: tensorboard --logdir {shlex.quote(str(self.folder))}")

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Writes a file of the folder, whole or not at all."""
        self.write_text(name, json.dumps(content, indent=2) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Writes a file of the folder, whole or not at all."""
        self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, content: bytes) -> None:
        """Writes a file of the folder, whole or not at all.

        Raises:
            ExperimentError: it cannot be written.
        """
        if processes.is_writer():
            with writing(self.folder, f"make room, then continue with: {self.resume_command()}"):
                replace_file(self.folder / name, content)


def _new_folder(runs: Path, name: str) -> Path:
    with writing(runs, "--runs DIR names another place"):
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
    """Writes a file so that at any moment, come what may, either the old content is there or the new one."""
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
def writing(place: Path, remedy: str) -> Iterator[None]:
    """Says which place cannot be written, why, and what to do, where an OSError would."""
    try:
        yield
    except OSError as error:
        raise ExperimentError(f"cannot write to '{place}': {error.strerror or error}; {remedy}") from error
