"""What every server is told on its command line. Standard library alone."""

import argparse
import os
import shlex
import sys
from dataclasses import dataclass, fields
from typing import Literal

from loadtests.device import CEILING, MAX_BATCH, batch_seconds

_VARIABLE = "LOADTESTS_OPTIONS"


@dataclass(frozen=True, slots=True)
class Options:
    """deadline_ms: of every request, for servers that can be told; None for their default.

    capacity: small photos a second that this server was seen to answer, which sizes what it lets in.
    work: what is done with a batch (work.py), of the network `model`. workers: processes. batch: its most photos.
    packages: the folder with PyTorch and what else our engine needs.
    """

    port: int
    deadline_ms: int | None = None
    capacity: float = CEILING
    work: Literal["sleep", "plain", "engine"] = "sleep"
    model: str = ""
    workers: int = 1
    batch: int = MAX_BATCH
    packages: str = ""

    @property
    def deadline_seconds(self) -> float | None:
        return None if self.deadline_ms is None else self.deadline_ms / 1000

    @property
    def wait_seconds(self) -> float | None:
        """How long a request may wait for the device: a full batch and everything around it still end in time."""
        return None if self.deadline_seconds is None else 0.8 * self.deadline_seconds - batch_seconds(MAX_BATCH)

    @property
    def queue_limit(self) -> int | None:
        """Requests that may wait: the last of them is answered by its deadline, behind one batch that runs."""
        return None if self.wait_seconds is None else max(1, round(self.capacity * self.wait_seconds) - MAX_BATCH)

    @property
    def arguments(self) -> list[str]:
        """As `parse` takes them."""
        return [f"--{field.name}={value}" for field in fields(self) if (value := getattr(self, field.name)) is not None]


def parse() -> Options:
    """From the command line; worker processes that are started anew find it in the environment."""
    os.environ[_VARIABLE] = shlex.join(sys.argv[1:])
    return inherited()


def inherited() -> Options:
    """What `parse` saw, in this process or in a parent."""
    parser = argparse.ArgumentParser()
    for name, kind in {"port": int, "deadline_ms": int, "capacity": float, "workers": int, "batch": int}.items():
        parser.add_argument(f"--{name}", type=kind, default=argparse.SUPPRESS)
    for name in ("work", "model", "packages"):
        parser.add_argument(f"--{name}", default=argparse.SUPPRESS)
    return Options(**vars(parser.parse_args(shlex.split(os.environ[_VARIABLE]))))
