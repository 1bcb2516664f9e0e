import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from models.engine.background import BackgroundError, compile_in_background
from models.engine.loading import Checkpoint, find


def compilers() -> list[psutil.Process]:
    """Processes of ours that compile."""
    return [p for p in psutil.Process().children(recursive=True) if "models.engine.background" in p.cmdline()]


async def started() -> psutil.Process:
    while not compilers():  # noqa: ASYNC110 (it notifies nobody)
        await asyncio.sleep(0.01)
    return compilers()[0]


async def test_compiling_goes_on_at_low_priority_and_ends_when_cancelled(checkpoint_dir: Path, tmp_path: Path) -> None:
    making = asyncio.create_task(compile_in_background(find("tiny", checkpoint_dir), tmp_path))
    process = await started()
    while process.nice() != 10:
        assert not making.done()
        await asyncio.sleep(0.01)
    making.cancel()
    await asyncio.gather(making, return_exceptions=True)
    assert compilers() == []


async def test_the_reason_of_a_failure_is_told(checkpoint_dir: Path, tmp_path: Path) -> None:
    checkpoint = find("tiny", checkpoint_dir)
    with pytest.raises(BackgroundError, match=r"CheckpointError: .*gone\.safetensors cannot be read"):
        await compile_in_background(Checkpoint(tmp_path / "gone.safetensors", checkpoint.card), tmp_path)


def test_the_process_ends_with_a_server_that_is_killed(checkpoint_dir: Path, tmp_path: Path) -> None:
    checkpoint = find("tiny", checkpoint_dir)
    program = "import asyncio, sys; from pathlib import Path; from models.engine.background import *; " + (
        f"asyncio.run(compile_in_background(Checkpoint.open(Path({str(checkpoint.path)!r})), Path({str(tmp_path)!r})))"
    )
    server = subprocess.Popen([sys.executable, "-c", program], env=os.environ)
    try:
        while not (children := compilers()):
            assert server.poll() is None
            time.sleep(0.01)
    finally:
        server.kill()
        server.wait()
    assert psutil.wait_procs(children, timeout=30)[1] == []
