"""The fake device that every server of a comparison runs: it sleeps as long as a small network would compute.

Imports the standard library alone, because it also runs in the environments of the other servers.
"""

import threading
import time

BATCH_SECONDS = 0.010
"""What a batch takes, however few photos it holds."""
PHOTO_SECONDS = 0.004
"""What each small photo of a batch adds."""
MAX_BATCH = 8
"""Small photos a batch."""


def batch_seconds(photos: float) -> float:
    """Seconds that a batch takes. photos: in small photos' worth, so a photo of twice the pixels counts two."""
    return BATCH_SECONDS + PHOTO_SECONDS * photos


ALONE_SECONDS = batch_seconds(1)
"""The least that one small photo takes."""
CEILING = MAX_BATCH / batch_seconds(MAX_BATCH)
"""Small photos a second, when every batch is full."""


class SleepingDevice:
    """Runs one batch at a time, in the thread of its caller."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def run(self, photos: float) -> None:
        """Be busy with `photos` small photos' worth of work."""
        with self._lock:
            time.sleep(batch_seconds(photos))
