"""A real TorchServe is told to end while a call runs that takes longer than any before it."""

import asyncio
import signal
from pathlib import Path

import httpx

from models.torchserve.wire import EncodedPhoto, Labelled, Request, pack_request, unpack_response
from tests import photos
from tests.service.gateway import PATIENCE
from tests.worker.process import WorkerProcess, worker_process

SECONDS = 3.0
DRAIN_SECONDS = 30
UNAWARE_SECONDS = 2.0
"""Gateways read a worker's state once a second: one may still send a call this long after the signal."""


async def call(client: httpx.AsyncClient, worker: WorkerProcess, request_id: str) -> None:
    """As gateways do. It must be answered with labels."""
    photo = EncodedPhoto(photos.png(photos.street(60, 80)), request_id)
    body = pack_request(Request([photo], 160, False, 10**6))
    answer = await client.post(f"http://127.0.0.1:{inference_port(worker)}/predictions/tiny/1", content=body)
    assert answer.status_code == 200, answer.text
    [result] = unpack_response(answer.content).results
    assert isinstance(result, Labelled)


def inference_port(worker: WorkerProcess) -> int:
    return worker.status.inference_port


async def test_calls_of_three_seconds_outlive_the_signal(checkpoint_dir: Path, tmp_path: Path) -> None:
    with worker_process(checkpoint_dir, tmp_path / "log", drain_s=DRAIN_SECONDS) as worker:
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            for number in range(5):
                await call(client, worker, f"quick-{number}")
            async with asyncio.TaskGroup() as calls:
                calls.create_task(call(client, worker, f"sleep-{SECONDS}"))
                await asyncio.sleep(0.5)
                worker.process.send_signal(signal.SIGTERM)
                await asyncio.sleep(UNAWARE_SECONDS)
                # It comes while the first one runs, and runs when that is long answered.
                calls.create_task(call(client, worker, f"sleep-{SECONDS}"))
        assert await asyncio.to_thread(worker.process.wait, DRAIN_SECONDS) == 0
