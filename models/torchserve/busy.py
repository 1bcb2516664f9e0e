"""Whether any process of a worker is at a call: TorchServe tells of none that it runs."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE = "SEGSERVE_WORKER_BUSY_FILE"
"""Variable of the environment: a file that all processes of a worker share."""


class Busy:
    """A lock on a file, shared by those that are at a call. The kernel lets go of it for one that dies."""

    def __init__(self, path: Path) -> None:
        """Makes the file where there is none. Raises OSError where it cannot."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    @contextmanager
    def at_a_call(self) -> Iterator[None]:
        """For as long as the context lasts."""
        fcntl.flock(self._file, fcntl.LOCK_SH)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def anyone(self) -> bool:
        """Whether another process, or another Busy of this one, is at a call."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self._file, fcntl.LOCK_UN)
        return False

    def close(self) -> None:
        os.close(self._file)
