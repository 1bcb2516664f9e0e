"""What every server of a comparison does with a batch of photos: sleep, run the network plainly, or run our engine.

Imports the standard library alone: where PyTorch is needed, it comes behind the server's own packages.
"""

import sys
from collections.abc import Sequence
from typing import Protocol

from loadtests.device import SleepingDevice
from loadtests.rivals.options import Options


class Work(Protocol):
    """Runs one batch at a time, in the thread of its caller."""

    def run(self, photos: Sequence[bytes]) -> Sequence[bytes]:
        """One answer a photo (JPEG files), in their order."""
        ...


class Sleep:
    """Answers with the size of the batch that a photo was in."""

    def __init__(self) -> None:
        self._device = SleepingDevice()

    def run(self, photos: Sequence[bytes]) -> Sequence[bytes]:
        self._device.run(len(photos))
        return [str(len(photos)).encode()] * len(photos)


def load(options: Options) -> Work:
    """As the command line of the server says."""
    if options.work == "sleep":
        return Sleep()
    if options.packages not in sys.path:
        sys.path.append(options.packages)
    from loadtests.rivals.network import OurEngine, PlainNetwork

    return PlainNetwork(options) if options.work == "plain" else OurEngine(options)
