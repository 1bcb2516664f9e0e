import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from models.engine.background import BackgroundError, compile_in_background
from models.engine.cache import graph_path
from models.engine.loading import Checkpoint, compiled, find, load_engine
from tests.service.gateway import PATIENCE

# Compiling has the lowest priority: beside other work it takes minutes.
pytestmark = pytest.mark.timeout(900)


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


def test_several_that_find_a_damaged_graph_leave_a_whole_one(checkpoint_dir: Path, tmp_path: Path) -> None:
    checkpoint = find("tiny", checkpoint_dir)
    load_engine(checkpoint, cache_dir=tmp_path)
    path = graph_path(checkpoint, tmp_path)
    path.with_suffix(".bin").write_bytes(b"")

    async def twice() -> None:
        await asyncio.gather(*(compile_in_background(checkpoint, tmp_path) for _ in range(2)))

    asyncio.run(twice())
    assert compiled(checkpoint, cache_dir=tmp_path, make=False)
    assert list(tmp_path.iterdir()) == [path.parent]


async def test_the_reason_of_a_failure_is_told(checkpoint_dir: Path, tmp_path: Path) -> None:
    checkpoint = find("tiny", checkpoint_dir)
    with pytest.raises(BackgroundError, match=r"CheckpointError: .*gone\.safetensors cannot be read"):
        await compile_in_background(Checkpoint(tmp_path / "gone.safetensors", checkpoint.card), tmp_path)


def test_the_process_ends_with_a_server_that_is_killed(checkpoint_dir: Path, tmp_path: Path) -> None:
    checkpoint = find("tiny", checkpoint_dir)
    modules = "import asyncio; from pathlib import Path; from models.engine import background, loading"
    arguments = f"loading.Checkpoint.open(Path({str(checkpoint.path)!r})), Path({str(tmp_path)!r})"
    program = f"{modules}; asyncio.run(background.compile_in_background({arguments}))"
    server = subprocess.Popen([sys.executable, "-c", program], env=os.environ)
    try:
        while not (children := compilers()):
            assert server.poll() is None
            time.sleep(0.01)
    finally:
        server.kill()
        server.wait()
    assert psutil.wait_procs(children, timeout=PATIENCE)[1] == []
