"""`python -m loadtests.workers.stock PORT CHECKPOINT`: TorchServe with the stock handler and nothing around it."""

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from loadtests.loopback import HOST, free_port
from models.torchserve.archive import archive_name, write_archive
from models.weights.checkpoint import Checkpoint
from worker.configuration import Ports, write_files
from worker.management import Management
from worker.torchserve import TorchServe

STALL_SECONDS = 300


async def main(port: int, path: Path) -> None:
    """Until it is cancelled."""
    folder = Path(tempfile.mkdtemp(prefix="stock-"))
    ports = Ports(port, *(free_port() for _ in range(4)))
    write_files(folder, host=HOST, ports=ports, stall_s=STALL_SECONDS)
    checkpoint = Checkpoint.open(path)
    archive = archive_name(checkpoint)
    write_archive(checkpoint, folder / "models" / archive, handler="loadtests.workers.stock_handler")
    torchserve = await TorchServe.start(folder, "warning", None)
    try:
        management = Management(ports)
        while not await management.alive():  # noqa: ASYNC110 (it notifies nobody)
            await asyncio.sleep(0.1)
        await management.register(archive, checkpoint.card.name, 1, STALL_SECONDS)
        await torchserve.wait()
    finally:
        await torchserve.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
