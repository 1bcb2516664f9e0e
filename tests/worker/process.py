"""A real worker in a process of its own: a supervisor, a Java virtual machine, Python processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import httpx
import psutil

from loadtests.loopback import free_port
from models.torchserve.status import WorkerStatus
from tests.service.gateway import PATIENCE
from worker.settings import WorkerSettings

STOP_SECONDS = float(os.environ.get("TORCHSERVE_STOP_S", "4"))
"""How long tests stop a process of a worker: long enough to be noticed."""
REPOSITORY = Path(__file__).parents[2]


class WorkerProcess:
    """url: of what it publishes."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, model_dir: Path, log: Path) -> None:
        self.process, self.port, self.model_dir, self.log = process, port, model_dir, log
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> httpx.Response:
        # There is nothing to verify over plain HTTP, and reading the certificates each time starves what is waited for.
        return httpx.get(f"{self.url}{path}", timeout=PATIENCE, trust_env=False, verify=False)

    @property
    def status(self) -> WorkerStatus:
        return WorkerStatus.model_validate_json(self.get("/status").content)

    def ready(self) -> bool:
        try:
            return self.get("/readyz").status_code == 200
        except httpx.TransportError:
            assert self.process.poll() is None, self.log.read_text(errors="replace")
            return False

    def wait_until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, self.log.read_text(errors="replace")
            time.sleep(0.05)

    def family(self) -> list[psutil.Process]:
        """Every process but the supervisor's own."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def listening(self) -> set[tuple[str, int]]:
        """Addresses and ports at which any of its processes can be reached, the supervisor's own too."""
        family = [psutil.Process(self.process.pid), *self.family()]
        sockets = [socket for member in family for socket in member.net_connections("inet")]
        # Java listens by IPv6, to IPv4 as well.
        return {
            (socket.laddr.ip.removeprefix("::ffff:"), socket.laddr.port)
            for socket in sockets
            if socket.status == psutil.CONN_LISTEN
        }

    def java(self) -> psutil.Process:
        [java] = [member for member in self.family() if _name(member) == "java"]
        return java

    def python(self) -> psutil.Process:
        """A Python process of TorchServe."""
        return self._pythons()[0]

    def python_processes(self) -> int:
        """How many of those there are."""
        return len(self._pythons())

    def _pythons(self) -> list[psutil.Process]:
        return [member for member in self.family() if any("model_service_worker" in a for a in _arguments(member))]


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


@contextmanager
def worker_process(
    model_dir: Path,
    log: Path,
    *,
    host: str = "127.0.0.1",
    stall_s: int = 30 + round(STOP_SECONDS),
    drain_s: int = 3,
    otlp_endpoint: str | None = None,
    output: IO[Any] | None = None,
) -> Iterator[WorkerProcess]:
    """One that is ready. output: where its log goes in place of the file `log`."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SEGSERVE_")}
    environment |= {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    settings = WorkerSettings(
        host=host,
        port=port,
        inference_port=0,
        model_dir=model_dir,
        stall_s=stall_s,
        drain_s=drain_s,
        otlp_endpoint=otlp_endpoint,
    )
    command = [sys.executable, "-m", "tests.worker.faulty_worker", settings.model_dump_json()]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=output or file, stderr=output or file, env=environment, cwd=REPOSITORY
        )
    worker = WorkerProcess(process, port, model_dir, log)
    try:
        worker.wait_until(worker.ready)
        yield worker
    finally:
        family = worker.family() if process.poll() is None else []
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
        for member in psutil.wait_procs(family, PATIENCE)[1]:
            member.kill()
            raise AssertionError(f"{member} outlived its supervisor")
