"""Errors that end an experiment: their message is the only line that the user sees."""

from __future__ import annotations

__all__ = ["ExperimentError", "Interrupted", "PeerError", "UsageError"]


class ExperimentError(Exception):
    """Raised for a cause outside the program: a damaged file, a full disk, a diverged loss."""

    status = 1


class UsageError(ExperimentError):
    """Raised when the command line asks for something impossible."""

    status = 2


class Interrupted(ExperimentError):
    """Raised after Ctrl-C, once the state is saved."""

    status = 130


class PeerError(ExperimentError):
    """Raised when another process of the run has failed and printed its own message."""

    def __init__(self, status: int) -> None:
        super().__init__("another process of this run ended with an error")
        self.status = status
