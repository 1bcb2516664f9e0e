"""Compiling beside a server that already answers: in a process of its own, at low priority, gone when the server is.

As a program (`python -m models.engine.background CHECKPOINT CACHE_DIR`) it is that process.
"""

import asyncio
import logging
import os
import sys
import threading
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.weights.checkpoint import Checkpoint

logger = logging.getLogger("segserve")


class BackgroundError(Exception):
    """The process failed; the message is the last that it said."""


async def compile_in_background(checkpoint: "Checkpoint", cache_dir: Path | None = None) -> None:
    """Have the checkpoint compiled into the cache. Raises BackgroundError; when cancelled, ends the process.

    What that process warns of is logged here.
    """
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", __name__, str(checkpoint.path), *([str(cache_dir)] if cache_dir else [])],
        stdin=PIPE,
        stdout=DEVNULL,
        stderr=PIPE,
    )
    try:
        assert process.stderr is not None
        said = (await process.stderr.read()).decode(errors="replace").strip()
        if await process.wait() != 0:
            raise BackgroundError((said or "no reason given").splitlines()[-1])
        for line in said.splitlines():
            logger.warning("compiling %s: %s", checkpoint.path.name, line)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def main(checkpoint: str, *cache_dir: str) -> None:
    """Compile one checkpoint, unless standard input is closed before it is done."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(10)
    # Not before: importing PyTorch is work too.
    import torch

    from models.engine.loading import compile_checkpoint
    from models.weights.checkpoint import Checkpoint

    torch.set_num_threads(1)
    compile_checkpoint(Checkpoint.open(Path(checkpoint)), *map(Path, cache_dir))


def _end_with_parent() -> None:
    # The other end is the server's: the system closes it, however the server ends.
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
