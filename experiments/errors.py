"""What stops an experiment: errors whose message is the one line that the user sees, and their exit status."""

from __future__ import annotations

__all__ = ["Bystander", "ExperimentError", "Interrupted", "UsageError"]


class ExperimentError(Exception):
    """Something went wrong outside the program: a broken file, a full disk, a diverged loss."""

    status = 1


class UsageError(ExperimentError):
    """The command line asks for something that cannot be done."""

    status = 2


class Interrupted(ExperimentError):
    """Ctrl-C, after the state was saved."""

    status = 130


class Bystander(ExperimentError):
    """Another process of the run ended with an error, and has said so."""

    def __init__(self, status: int) -> None:
        super().__init__("another process of this run ended with an error")
        self.status = status
