"""A server in a process group of its own: started, waited for, measured and stopped."""

import asyncio
import http.client
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from loadtests.loopback import HOST

START_SECONDS = 90.0
STOP_SECONDS = 40.0


class StartFailed(Exception):
    """The server did not become ready; the message ends with the last lines of its log."""


@dataclass(slots=True)
class ServerProcess:
    """One that is ready. peak_rss: bytes, all its processes together, since the last `forget_peak`."""

    port: int
    process: subprocess.Popen[bytes]
    family: dict[int, psutil.Process] = field(default_factory=dict)
    peak_rss: int = 0

    def forget_peak(self) -> None:
        self.peak_rss = 0

    def sample_rss(self) -> None:
        total = 0
        for member in self.family.values():
            with suppress(psutil.NoSuchProcess):
                total += member.memory_info().rss
        self.peak_rss = max(self.peak_rss, total)

    def find_family(self) -> None:
        """The process and its descendants; those that it has left behind stay known."""
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.process.pid)
            for member in (parent, *parent.children(recursive=True)):
                self.family.setdefault(member.pid, member)

    def terminate(self) -> None:
        """SIGTERM to the server's own process, as an orchestrator sends it."""
        self.process.send_signal(signal.SIGTERM)


@asynccontextmanager
async def running(
    command: Sequence[str],
    port: int,
    *,
    ready_path: str,
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[ServerProcess]:
    """Start `command`, wait until `ready_path` answers 200, and end every process of it afterwards.

    Raises StartFailed.
    """
    process = _start(command, log, environment or {})
    server = ServerProcess(port, process)
    watching = asyncio.create_task(_watch(server))
    try:
        await asyncio.to_thread(_wait_until_ready, server, ready_path, log)
        server.find_family()
        yield server
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await asyncio.to_thread(_stop, server)


def _start(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
            start_new_session=True,
        )


async def _watch(server: ServerProcess) -> None:
    """A look at the memory ten times a second."""
    while True:
        await asyncio.sleep(0.1)
        server.sample_rss()


def _wait_until_ready(server: ServerProcess, path: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if server.process.poll() is not None:
            break
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(HOST, server.port, timeout=5)
            try:
                connection.request("GET", path)
                if connection.getresponse().status == 200:
                    return
            finally:
                connection.close()
        time.sleep(0.1)
    tail = log.read_text(errors="replace").strip()[-600:]
    raise StartFailed(f"not ready within {START_SECONDS:.0f} s or ended with {server.process.poll()}: {tail}")


def _stop(server: ServerProcess) -> None:
    """SIGTERM, and SIGKILL to what is left of the group and of the descendants that left it."""
    server.find_family()
    if server.process.poll() is None:
        # Some servers leave it to the signal's sender to reach their children.
        os.killpg(server.process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            server.process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()
    for member in server.family.values():
        with suppress(psutil.NoSuchProcess):
            member.kill()  # psutil refuses where the id belongs to another process by now
