"""Measurements as TensorBoard reads them.

torch's `SummaryWriter` writes in a thread, whose errors end as a traceback on the terminal and not
where they could be dealt with. This one writes in its caller's.
"""

import errno
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["Events"]


class Events:
    """An open file of events.

    Args:
        folder: Where TensorBoard looks for them; it is made.
        purge_step: Events of this step and later ones that older files hold are not to be shown.

    Raises:
        ImportError: TensorBoard is not installed.
        OSError: The folder is a link or cannot be written.
    """

    def __init__(self, folder: Path, purge_step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from torch.utils.tensorboard import RecordWriter

        self._event, self._summary = Event, Summary
        if folder.is_symlink():
            raise OSError(errno.ELOOP, "it is a link, which is not followed")
        if folder.exists() and not folder.is_dir():
            raise OSError(errno.ENOTDIR, "it is not a folder")
        folder.mkdir(exist_ok=True)
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)  # files are read in the order of names
        name = f"events.out.tfevents.{seconds:010d}.{nanoseconds:09d}"
        self._writer: Any = RecordWriter((folder / name).open("xb"))
        try:
            self._write(file_version="brain.Event:2")
            self._write(step=purge_step, session_log=SessionLog(status=SessionLog.START))
            self.flush()
        except OSError:
            self.close()
            raise

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write numbers, each with its name, that were measured at a step."""
        numbers = [self._summary.Value(tag=name, simple_value=x) for name, x in values.items()]
        self._write(step=step, summary=self._summary(value=numbers))
        self.flush()

    def flush(self) -> None:
        """Have the file hold all that was written."""
        self._writer.flush()

    def close(self) -> None:
        """Close the file. What it could not hold is lost."""
        with suppress(OSError):
            self._writer.close()

    def _write(self, **content: Any) -> None:
        event = self._event(wall_time=time.time(), **content)
        self._writer.write(event.SerializeToString())
