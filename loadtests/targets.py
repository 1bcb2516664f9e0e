"""What the scheduling scenarios load: segserve around the fake device, or with a real model."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from loadtests.loopback import free_port
from loadtests.photos import Photo, lean_photo, small_photo, street_photo
from loadtests.process import ServerProcess, running

DEADLINE_MS = 500


@dataclass(frozen=True, slots=True)
class Target:
    """command: what serves, without its port. sizes: (height, width) of a mixed load, with their shares.

    clients: in closed loop, enough for full batches whatever part of them is being received, decoded or answered.
    bare: the command of the same without a gateway, to tell what that adds.
    """

    name: str
    command: Sequence[str]
    photo: Photo
    burst_photo: Photo
    sizes: Mapping[tuple[int, int], float]
    deadline_ms: int
    clients: int
    bare: Sequence[str] = ()

    @property
    def deadline(self) -> float:
        """In seconds."""
        return self.deadline_ms / 1000

    def running(self, log: Path) -> AbstractAsyncContextManager[ServerProcess]:
        """The server, on a port of its own, until the context is left."""
        port = free_port()
        command = [*self.command, "--port", str(port)]
        return running(command, port, ready_path="/readyz", log=log)


def fake() -> Target:
    """The scheduler alone."""
    command = [sys.executable, "-m", "loadtests.fake_server", "--log-level", "warning"]
    bare = [sys.executable, "-m", "loadtests.bare_server"]
    sizes = {(192, 256): 0.6, (256, 384): 0.3, (384, 512): 0.1}
    return Target("fake device", command, small_photo(), lean_photo(), sizes, DEADLINE_MS, 64, bare)


def real(model: str) -> Target:
    """Photos of CamVid's size, and larger ones, through a network."""
    command = [str(Path(sys.executable).with_name("segserve")), "serve", "--model", model, "--log-level", "warning"]
    photo = street_photo(360, 480)
    return Target(model, command, photo, photo, {(360, 480): 0.8, (720, 960): 0.2}, 2 * DEADLINE_MS, clients=16)
