"""The folder of one run of a chapter.

``config.json``     the settings, from which ``--resume`` continues
``metrics.jsonl``   a line for each training step and each evaluation
``checkpoint.pt``   the last saved state, ``previous.pt`` the one before, ``best.pt`` the best weights; see
                    `experiments.training`
``summary.json``    the result, at the end of the run
``events.out.*``    TensorBoard's files, in a subfolder for each network if there are two

A chapter that trains several networks has a subfolder with these files for each, a `part`, with ``part.json``
instead of ``config.json``. With several processes only the writer process writes, and ``writer.lock`` keeps other
programs from writing: two of them would mix their records.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from experiments import processes
from experiments.errors import ExperimentError, UsageError
from experiments.settings import CommonSettings, as_plain_values

__all__ = ["LENGTH", "LOCKS", "Run", "parse_json", "replace_file", "writing"]

LENGTH = ("epochs", "max_steps")  # settings that --resume may change, to prolong the run
SHOWN = 40  # runs that TensorBoard shows at first; of more it shows none
LOCKS = ExitStack()  # the locks of this program's runs; closing it releases them


class Run:
    """An open run folder; `create` makes one and `reopen` continues one.

    Attributes:
        folder: Path of the folder.
        chapter: Name of the chapter.
        config: The settings, as plain values.
        part_name: Name of the part; empty for a whole run.
        reopened: Whether an earlier process created it.
        earlier: The lengths that it had before it was prolonged, as settings by name.
        prolonged: Whether this process prolongs it.
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
        self.earlier: list[dict[str, Any]] = [] if parent is None else parent.earlier
        self.prolonged = False

    @classmethod
    def create(cls, settings: CommonSettings, chapter: str, label: str = "") -> Run:
        """Makes the folder ``chapter-label-NNN`` in ``settings.runs``, with the first free number.

        The label is the backend by default, and the folder of the runs ``runs/chapter``.

        Raises:
            ExperimentError: The folder cannot be written.
        """
        config = as_plain_values(settings)
        runs, name = settings.runs or Path("runs", chapter), f"{chapter}-{label or settings.backend}"
        folder = processes.share(lambda: _new_folder(runs, name))
        run = cls(folder, chapter, config)
        run.lock()
        run.write_config()
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
                "pass a folder such as runs/mnist/mnist-cnn-scratch-001, or start a new run without --resume"
            )
        config = parse_json(path.read_bytes(), path)
        chapter, earlier = config.pop("chapter", None), config.pop("earlier", [])
        if not isinstance(chapter, str) or not isinstance(earlier, list):
            raise ExperimentError(f"'{path}' is damaged (it names no chapter); start a new run without --resume")
        run = cls(folder, chapter, config, reopened=True)
        run.earlier = earlier
        return run

    def lock(self) -> None:
        """Keeps other programs from writing to the folder until `LOCKS` is closed, or this program dies.

        Raises:
            ExperimentError: Another program writes to the folder, or something in it is a symbolic link.
        """
        if not processes.is_writer():
            return
        holder = self.folder / "writer.txt"
        for path in self.folder.rglob("*"):
            if path.is_symlink():
                raise ExperimentError(
                    f"'{path}' is a symbolic link, which a run does not write through; remove it"
                )
        with writing(self.folder, "choose another folder with --runs DIR"):
            try:
                lock = FileLock(self.folder / "writer.lock")
                lock.acquire(timeout=0)
            except Timeout:
                who = holder.read_text(errors="replace").strip() if holder.is_file() else "another process"
                raise ExperimentError(
                    f"'{self.folder}' is being written to by {who}; wait until it ends, or stop it first"
                ) from None
            LOCKS.callback(lock.release)
            replace_file(holder, f"process {os.getpid()} on {socket.gethostname()}\n".encode())

    def prolong(self, length: Mapping[str, Any]) -> None:
        """Changes the length of the run; `train` writes it to ``config.json`` once the checkpoint allows it."""
        self.earlier.append({name: self.config[name] for name in length})
        self.config |= length
        self.prolonged = True

    def write_config(self) -> None:
        earlier = {"earlier": self.earlier} if self.earlier else {}
        self.write_json("config.json", {"chapter": self.chapter, **self.config, **earlier})

    def settle(self) -> None:
        """Writes the settings of a prolonged run, which is no longer finished, and those of a part."""
        whole = self._parent
        if whole.prolonged:
            if processes.is_writer():
                (whole.folder / "summary.json").unlink(missing_ok=True)
            whole.write_config()
            whole.prolonged = False
        if self.part_name:
            self.write_json("part.json", self.config)

    def part(self, name: str, **facts: Any) -> Run:
        """Returns the subfolder of one network; ``facts`` are added to its settings."""
        folder = self.folder / name
        # A part without a checkpoint starts again.
        reopened = processes.share(
            lambda: any((folder / each).is_file() for each in ("checkpoint.pt", "previous.pt"))
        )
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
    def previous(self) -> Path:
        return self.folder / "previous.pt"

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
        return f"{python} -m experiments {self.chapter} --resume {shlex.quote(str(self._parent.folder))}"

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Writes ``summary.json``, which marks the run as finished, and prints its folder."""
        self.write_json("summary.json", summary)
        # Seen from the folder above, the run has its name; TensorBoard hides more than so many at first.
        above = self.folder.parent
        shown = {path.parent for path in above.rglob("events.out.tfevents.*")}
        view = above if len(shown) <= SHOWN else self.folder
        print(f"run folder: {self.folder}")
        print(f"view it with: tensorboard --logdir {shlex.quote(str(view))}")

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


def parse_json(text: str | bytes, path: Path) -> dict[str, Any]:
    """Parses a JSON object.

    Raises:
        ExperimentError: ``path``, from which the text was read, is damaged.
    """
    try:
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError(f"expected an object, got {str(content)[:40]}")
    except (ValueError, RecursionError) as error:
        raise ExperimentError(f"'{path}' is damaged ({type(error).__name__}: {error})") from error
    return content


def replace_file(path: Path, content: bytes, keep: Path | None = None) -> None:
    """Writes a file atomically: after an interruption it has either its old or its new content.

    Symbolic links are replaced, not followed.

    Args:
        path: The file.
        content: Its new content.
        keep: Where to keep the old content.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if keep is not None and path.exists():
            keep.unlink(missing_ok=True)
            try:
                os.link(path, keep)
            except OSError:  # a file system without hard links
                shutil.copyfile(path, keep)
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
