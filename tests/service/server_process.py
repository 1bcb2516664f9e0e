"""A server in a process of its own: found by what it logs, asked over its socket, ended by signals."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.service.gateway import PATIENCE


class ServerProcess:
    """One that is ready."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log
        self.url = httpx.URL(self._wait_for_address())
        with httpx.Client(base_url=self.url, timeout=PATIENCE) as client:
            while client.get("/readyz").status_code != 200:
                time.sleep(0.1)

    def log(self) -> list[dict[str, Any]]:
        """Its lines so far, each of which must be JSON."""
        *complete, _ = self._log.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in complete]

    def peak_memory(self) -> int:
        """The largest resident memory so far, in bytes."""
        status = Path(f"/proc/{self._process.pid}/status")
        if status.exists():
            return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def running(self) -> bool:
        return self._process.poll() is None

    def send(self, signal: int) -> None:
        self._process.send_signal(signal)

    def wait(self, seconds: float = PATIENCE) -> int:
        """The exit status, negative for the signal that ended it. Raises TimeoutExpired."""
        return self._process.wait(seconds)

    def _wait_for_address(self) -> str:
        for _ in range(PATIENCE * 10):
            for line in self.log():
                if line["message"].startswith("Uvicorn running on "):
                    return str(line["message"].split()[3])
            assert self.running(), self._log.read_text(encoding="utf-8")
            time.sleep(0.1)
        raise TimeoutError(self._log.read_text(encoding="utf-8"))


@contextmanager
def server_process(arguments: Sequence[object], log: Path, **variables: str) -> Iterator[ServerProcess]:
    """Run Python with these arguments. A server that is left running is killed. variables: of its environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SEGSERVE_")} | variables
    with log.open("wb") as stderr:
        process = subprocess.Popen([sys.executable, *map(str, arguments)], stderr=stderr, env=environment)
    try:
        yield ServerProcess(process, log)
    finally:
        process.kill()
        process.wait()
