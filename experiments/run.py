"""The folder of one training run.

``config.json``     what the run was asked for, from which ``--resume`` starts
``metrics.jsonl``   a line for each training step and each evaluation
``checkpoint.pt``   the last saved state; see `experiments.checkpoint`
``summary.json``    the result, once there is one
``events.out.*``    TensorBoard's records, in a subfolder for each network where there are two
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.errors import ExperimentError, UsageError

__all__ = ["Run", "replace_file", "writing"]


class Run:
    """An open run folder; `create` makes one and `reopen` continues one.

    Attributes:
        folder: Where it is.
        chapter: The chapter that it is a run of.
        config: What the run was asked for, as plain values.
    """

    def __init__(self, folder: Path, chapter: str, config: Mapping[str, Any]) -> None:
        self.folder, self.chapter, self.config = folder, chapter, dict(config)

    @classmethod
    def create(cls, runs: Path, chapter: str, label: str, config: Mapping[str, Any]) -> Run:
        """Makes the folder ``chapter-label-NNN`` below ``runs``, with the first number that is free.

        Raises:
            ExperimentError: it cannot be written.
        """
        with writing(runs, "--runs DIR names another place"):
            runs.mkdir(parents=True, exist_ok=True)
            number = 1
            while True:
                folder = runs / f"{chapter}-{label}-{number:03d}"
                try:
                    folder.mkdir()
                    break
                except FileExistsError:
                    number += 1
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
        return cls(folder, chapter, config)

    @property
    def checkpoint(self) -> Path:
        """Where the state is saved."""
        return self.folder / "checkpoint.pt"

    @property
    def finished(self) -> bool:
        """Whether the result is there."""
        return (self.folder / "summary.json").is_file()

    def resume_command(self) -> str:
        """What to type to continue the run."""
        return f"python -m experiments {self.chapter} --resume {self.folder}"

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Writes a file of the folder, whole or not at all."""
        replace_file(self.folder / name, json.dumps(content, indent=2).encode() + b"\n")


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
