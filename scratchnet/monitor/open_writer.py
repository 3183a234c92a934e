"""Opens TensorBoard's writer of a folder, where a run begins or is resumed."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["open_writer"]


def open_writer(folder: str | os.PathLike[str], purge_step: int | None) -> Any:
    """Opens a `torch.utils.tensorboard.SummaryWriter`.

    Args:
        folder: The folder to write to.
        purge_step: Step from which TensorBoard forgets what it has read before; None forgets nothing.

    Raises:
        ImportError: If tensorboard is not installed.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(
            "Monitor: writing to a folder needs tensorboard, which is not installed: "
            "pip install tensorboard, or in a checkout pip install -e '.[experiments]'"
        ) from error
    writer = SummaryWriter(os.fspath(folder), purge_step=purge_step, max_queue=1000)
    if purge_step is not None:
        # TensorBoard's reader in Python takes the first start of a session in a folder for no restart.
        writer._get_file_writer().add_event(Event(session_log=SessionLog(status=SessionLog.START)), purge_step)
    return writer
