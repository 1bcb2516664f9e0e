"""`segserve label` in a process of its own, and how to kill it."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from labeling import status
from labeling.store import open_store
from tests.service.gateway import PATIENCE


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-c", "from cli.main import main; main()", "label", *map(str, arguments)]


def environment(**variables: str) -> dict[str, str]:
    """This process's, without settings of the user's."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SEGSERVE_")}
    return inherited | variables


@contextmanager
def label_process(log: Path, *arguments: object, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """The running command, its messages in `log`; killed, if it is left running."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            command(*arguments), stdout=file, stderr=file, env=environment(**variables), preexec_fn=_heed_ctrl_c
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _heed_ctrl_c() -> None:
    """As in a terminal: what a shell runs in the background, these tests for instance, inherits that it is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finish(log: Path, *arguments: object, **variables: str) -> None:
    """Run the command to its end, which must be a good one."""
    with label_process(log, *arguments, **variables) as process:
        assert process.wait(PATIENCE * 4) == 0, log.read_text()


def kill_at_random(
    process: subprocess.Popen[bytes], out: Path, draw: random.Random, most_commits: int, last: int
) -> None:
    """kill -9 at some moment of its work, after up to `most_commits` further shards (and what a blink of time adds).

    last: shards after which it goes no further, and is killed in any case.
    """
    children = psutil.Process(process.pid).children(recursive=True)
    before, commits = _working(out), _commits(out) + draw.randint(0, most_commits)
    while process.poll() is None and (_working(out) == before or _commits(out) < commits) and _commits(out) < last:
        time.sleep(0.01)
        children = _children(process) or children
    time.sleep(draw.uniform(0, 0.1))
    children = _children(process) or children
    assert process.poll() is None, "it ended before it was killed often enough"
    process.send_signal(signal.SIGKILL)
    process.wait()
    # Workers do not outlive the process that gives them work.
    _, alive = psutil.wait_procs(children, timeout=PATIENCE)
    assert not alive


def _children(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _working(out: Path) -> list[str]:
    """What changes when work begins: the records of windows in progress."""
    return sorted(path.name for path in (out / "working").glob("*/*"))


def _commits(out: Path) -> int:
    return len(status.committed(open_store(str(out))))
