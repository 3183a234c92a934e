"""``python -m experiments`` lists the chapters, ``python -m experiments NAME --help`` the flags of one."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence

from experiments.chapters import CHAPTERS
from experiments.errors import Bystander, ExperimentError, Interrupted, UsageError

__all__ = ["main"]


def main(words: Sequence[str]) -> int:
    """Runs the chapter that is named first, with the flags that follow; the exit status."""
    try:
        run(words)
    except Bystander as error:
        return error.status
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        return stop.status
    except ExperimentError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return Interrupted.status
    except ModuleNotFoundError as error:
        print(f"error: {error}; pip install -e '.[experiments]' brings what is missing", file=sys.stderr)
        return ExperimentError.status
    return 0


def run(words: Sequence[str]) -> None:
    """Runs a chapter, or reports on runs; lists all chapters where none is named."""
    if not words or words[0] in ("-h", "--help"):
        print("usage: python -m experiments CHAPTER [--help] [flags]\n")
        for name, chapter in CHAPTERS.items():
            print(f"  {name:15} {chapter.line} ({chapter.time})")
        print("\nTimes are of --preset quick and --preset full on two cores.")
        print("python -m experiments report RUN … lays runs beside each other, as Markdown and pictures.")
        return
    name, *flags = words
    if name == "report":
        from experiments import report

        return report.main(flags)
    if name not in CHAPTERS:
        near = difflib.get_close_matches(name, CHAPTERS, n=1)
        remedy = f"did you mean {near[0]}?" if near else "python -m experiments lists them with a line on each"
        raise UsageError(f"expected a chapter ({', '.join(CHAPTERS)}), got {name!r}; {remedy}")

    from experiments import processes  # not before a chapter is chosen: the list should come at once

    with processes.joined():
        start(name, flags)


def start(name: str, flags: Sequence[str]) -> None:
    """Begins a run of a chapter, or continues the one that ``--resume`` names."""
    from experiments import commandline
    from experiments.settings import on_a_device

    module = importlib.import_module(f"experiments.chapters.{name}")
    prog = f"python -m experiments {name}"
    settings = commandline.parse(module.Config, flags, prog)
    folder = None
    if settings.resume is not None:
        folder, settings = commandline.resume(settings, flags, prog)
        if folder.finished:
            print(f"'{folder.folder}' is finished; there is nothing left to do")
            return
    settings.check()
    module.main(on_a_device(settings), folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
