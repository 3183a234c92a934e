"""Lists the chapters, or runs one: ``python -m experiments [NAME [flags]]``; NAME ``--help`` lists its flags."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from experiments.chapters import CHAPTERS
from experiments.errors import ExperimentError, Interrupted, PeerError, UsageError
from experiments.formatting import printable

__all__ = ["main"]


def main(words: Sequence[str]) -> int:
    """Runs the chapter named by the first word and returns the exit status."""
    try:
        run(words)
    except PeerError as error:
        return error.status
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        return stop.status
    except ExperimentError as error:
        print(f"error: {printable(error)}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return Interrupted.status
    except ModuleNotFoundError as error:
        print(f"error: {error}; pip install -e '.[experiments]' installs the missing packages", file=sys.stderr)
        return ExperimentError.status
    return 0


def run(words: Sequence[str]) -> None:
    """Runs a chapter or ``report``; lists the chapters if no word is given."""
    if not words or words[0] in ("-h", "--help"):
        print("usage: python -m experiments CHAPTER [--help] [flags]\n")
        for name, chapter in CHAPTERS.items():
            print(f"  {name:15} {chapter.line} ({chapter.time})")
        print("\nTimes are for --preset quick and --preset full on two cores.")
        print("python -m experiments report RUN … compares runs in Markdown and plots.")
        return
    name, *flags = words
    if name == "report":
        from experiments import report

        return report.main(flags)
    if name not in CHAPTERS:
        near = difflib.get_close_matches(name, CHAPTERS, n=1)
        remedy = f"did you mean {near[0]}?" if near else "python -m experiments lists them"
        raise UsageError(f"expected a chapter ({', '.join(CHAPTERS)}), got {name!r}; {remedy}")

    from experiments import processes  # imported late: listing the chapters must not load torch

    with processes.joined():
        start(name, flags)


def start(name: str, flags: Sequence[str]) -> None:
    """Starts a run of a chapter, or continues the run that ``--resume`` names."""
    from experiments import commandline
    from experiments.run import LOCKS
    from experiments.settings import on_a_device
    from experiments.threads import one_thread

    module = importlib.import_module(f"experiments.chapters.{name}")
    prog = f"python -m experiments {name}"
    settings = commandline.parse(module.Config, flags, prog)
    folder = None
    with LOCKS:
        if settings.resume is not None:
            folder, settings = commandline.resume(settings, flags, prog)
            if folder.finished and not folder.prolonged:
                print(f"'{folder.folder}' is finished; nothing is left to do")
                return
        settings.check()
        with one_thread(settings.threads), compiled_kernels(settings.kernels):
            module.main(on_a_device(settings), folder)


@contextmanager
def compiled_kernels(wanted: bool) -> Iterator[None]:
    """Runs large calls as compiled kernels, if that is wanted.

    Raises:
        UsageError: There is no compiler.
    """
    from scratchnet import kernels

    if wanted:
        try:
            kernels.enable()
        except RuntimeError as error:
            raise UsageError(f"--kernels: {error}") from error
    try:
        yield
    finally:
        if wanted:
            kernels.disable()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
