"""TorchServe as a process: one Java virtual machine and the Python processes that it starts."""

import asyncio
import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from worker.configuration import command, environment

_PR_SET_PDEATHSIG = 1


class TorchServe:
    """One run of it, in a process group of its own, so that nothing of it outlives `kill`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(
        cls, folder: Path, log_level: str, otlp_endpoint: str | None, threads: int | None = None
    ) -> "TorchServe":
        """folder: with what `configuration.write_files` wrote. threads: see `environment`. Its log goes to ours."""
        return cls(
            await asyncio.create_subprocess_exec(
                *command(folder, log_level),
                cwd=folder,
                env=environment(folder, otlp_endpoint, threads),
                stdin=asyncio.subprocess.DEVNULL,
                # Greetings; its log is on stderr.
                stdout=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        )

    @property
    def exit_status(self) -> int | None:
        """Negative for the signal that ended it; None while it runs."""
        return self._process.returncode

    async def wait(self) -> None:
        """Until it ends."""
        await self._process.wait()

    async def kill(self) -> None:
        """End every process of it, stopped ones too. It keeps no state that it would have to save."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        # Orphans are ours to reap where we are the first process of a container.
        _reap(self._process.pid)


def _reap(group: int) -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG) != (0, 0):
            pass


def _die_with_parent() -> None:
    """Runs in the child: ask the kernel to kill it when we are killed ourselves."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
