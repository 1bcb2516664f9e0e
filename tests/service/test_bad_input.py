"""`segserve serve` itself, fed with all that callers get wrong: each has its status, and none costs the others."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from images import decode_label_map
from tests import photos
from tests.service.connection import connection
from tests.service.gateway import PATIENCE
from tests.service.problems import problem_of

STREET = photos.street(60, 80)
GOOD = photos.jpeg(STREET)
MAX_BODY_BYTES = 4 * 2**20
GROWTH = 96 * 2**20
"""What the resident memory may grow by: several of the largest bodies, a photo, a network's activations."""


class ServerProcess:
    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._log, self._process = log, psutil.Process(process.pid)
        self.url = httpx.URL(self._wait_for_address(process))
        with httpx.Client(base_url=self.url, timeout=PATIENCE) as client:
            while client.get("/readyz").status_code != 200:
                time.sleep(0.1)
            for _ in range(2):
                client.post("/segment", content=GOOD).raise_for_status()

    def peak_memory(self) -> int:
        """The largest resident memory so far, in bytes."""
        status = Path(f"/proc/{self._process.pid}/status")
        if status.exists():
            return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
        return int(self._process.memory_info().rss)

    def running(self) -> bool:
        return self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE

    def log(self) -> list[dict[str, Any]]:
        """Its lines so far, each of which must be JSON."""
        *complete, _ = self._log.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in complete]

    def _wait_for_address(self, process: subprocess.Popen[bytes]) -> str:
        for _ in range(PATIENCE * 10):
            for line in self.log():
                if line["message"].startswith("Uvicorn running on "):
                    return str(line["message"].split()[3])
            assert process.poll() is None, self._log.read_text(encoding="utf-8")
            time.sleep(0.1)
        raise TimeoutError(self._log.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def server(checkpoint_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Answers for the model tiny, on a free port, with a short patience for bodies."""
    log = tmp_path_factory.mktemp("server") / "log"
    flags = {
        "--port": 0,
        "--model": "tiny",
        "--model-dir": checkpoint_dir,
        "--max-body-bytes": MAX_BODY_BYTES,
        "--body-timeout-ms": 1500,
        "--timeout-ms": 60_000,
    }
    command = [sys.executable, "-c", "from cli.main import main; main()", "serve"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SEGSERVE_")}
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [*command, *(str(part) for flag in flags.items() for part in flag)], stderr=stderr, env=environment
        )
    try:
        yield ServerProcess(process, log)
    finally:
        process.terminate()
        # uvicorn stops in good order, then lets the signal take its course.
        assert process.wait(PATIENCE) in (0, -signal.SIGTERM)
        assert "Application shutdown complete." in log.read_text(encoding="utf-8")


@pytest.fixture
async def client(server: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    """After each test the server still runs, has not grown, and still answers a good photo."""
    before = server.peak_memory()
    async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE) as opened:
        yield opened
        assert server.running()
        assert server.peak_memory() - before < GROWTH
        answer = await opened.post("/segment?output=labels", content=GOOD)
        assert decode_label_map(answer.content).shape == STREET.shape[:2]


BAD: dict[str, tuple[Callable[[], bytes], int, str, str]] = {
    "nothing": (lambda: b"", 400, "not-an-image", "send the bytes of a photo"),
    "text": (lambda: b"a street on a sunny day", 400, "not-an-image", "send a photo"),
    "noise": (lambda: np.random.default_rng(0).bytes(100_000), 400, "not-an-image", "send a photo"),
    "a truncated JPEG": (photos.truncated_jpeg, 400, "damaged-image", "send that"),
    "a corrupt JPEG": (photos.corrupt_middle_jpeg, 400, "damaged-image", "send that"),
    "the start of a JPEG": (lambda: GOOD[:20], 400, "damaged-image", "send the whole file"),
    "a PNG that claims 40000 x 40000": (lambda: photos.png_claiming(40_000, 40_000), 413, "too-many-pixels", "smaller"),
    "a PNG that claims 7000 x 7000": (lambda: photos.png_claiming(7000, 7000), 400, "damaged-image", "send that"),
    "a PNG of 400 megapixels": (photos.png_of_400_megapixels, 413, "too-many-pixels", "make it smaller"),
    "a TIFF": (lambda: b"II*\0" + bytes(100), 415, "format-not-allowed", "JPEG, PNG"),
    "an SVG": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "format-not-allowed", "JPEG, PNG"),
    "a body over the limit": (lambda: bytes(MAX_BODY_BYTES + 1), 413, "body-too-large", "send a smaller photo"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_body(client: httpx.AsyncClient, name: str) -> None:
    body, status, cause, advice = BAD[name]
    problem = problem_of(await client.post("/segment", content=body()), status, cause)
    assert advice in problem["detail"]


async def test_a_body_over_the_limit_without_a_content_length(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 2**16 + 1):
            yield bytes(2**16)

    problem_of(await client.post("/segment", content=endless()), 413, "body-too-large")


def deep(height: int, width: int) -> bytes:
    return photos.png(np.full((height, width), 40_000, np.uint16))


ODD: dict[str, tuple[Callable[[], bytes], tuple[int, int]]] = {
    "CMYK": (lambda: photos.cmyk_jpeg(STREET), (60, 80)),
    "grey": (lambda: photos.jpeg(STREET[..., 0]), (60, 80)),
    "16 bits": (lambda: deep(60, 80), (60, 80)),
    "a palette": (lambda: photos.palette_png(STREET), (60, 80)),
    "RGBA": (lambda: photos.png(np.dstack([STREET, STREET[..., 0]])), (60, 80)),
    "black and white": (lambda: photos.one_bit_png(STREET[..., 0] > 99), (60, 80)),
    "an animated GIF": (lambda: photos.animated_gif([STREET, STREET[::-1]]), (60, 80)),
    "an animated WebP": (lambda: photos.animated_webp([STREET, STREET[::-1]]), (60, 80)),
    "a JPEG with a preview": (lambda: photos.multi_picture_jpeg(STREET), (60, 80)),
    "1 x 1": (lambda: photos.png(photos.street(1, 1)), (1, 1)),
    "1 x 5000": (lambda: photos.png(photos.street(1, 5000)), (1, 5000)),
    "5000 x 1": (lambda: photos.png(photos.street(5000, 1)), (5000, 1)),
    **{
        f"EXIF orientation {i}": (lambda i=i: photos.oriented(STREET, i, "JPEG"), (60, 80))  # type: ignore[misc]
        for i in range(1, 9)
    },
    "EXIF orientation 9": (lambda: photos.with_exif(GOOD, 9), (60, 80)),
}


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_photo_is_still_a_photo(client: httpx.AsyncClient, name: str) -> None:
    photo, shape = ODD[name]
    answer = await client.post("/segment?output=labels", content=photo())
    assert answer.status_code == 200, answer.text
    assert decode_label_map(answer.content).shape == shape


@pytest.mark.parametrize(
    ("query", "status", "cause", "advice"),
    [
        ("model=other", 404, "unknown-model", "tiny@1"),
        ("alpha=7", 422, "bad-parameter", "alpha"),
        ("long_side=100000", 422, "bad-parameter", "long_side"),
        ("output=video", 422, "bad-parameter", "output"),
        ("timeout_ms=1", 429, "overloaded", "timeout_ms"),
    ],
)
async def test_a_bad_query(client: httpx.AsyncClient, query: str, status: int, cause: str, advice: str) -> None:
    problem = problem_of(await client.post(f"/segment?{query}", content=GOOD), status, cause)
    assert advice in problem["detail"]


async def test_clients_that_hang_up_half_way(client: httpx.AsyncClient) -> None:
    for _ in range(10):
        async with connection(client.base_url) as caller:
            await caller.post(bytes(MAX_BODY_BYTES // 2), length=MAX_BODY_BYTES)
    while "segserve_memory_reserved_bytes 0.0" not in (await client.get("/metrics")).text:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def test_clients_that_send_a_byte_a_second(client: httpx.AsyncClient) -> None:
    async def dawdle() -> int:
        async with connection(client.base_url) as caller:
            await caller.post(GOOD[:1], length=len(GOOD))
            reply = asyncio.create_task(caller.reply())
            for at in range(1, 10):
                if (await asyncio.wait([reply], timeout=1))[0]:
                    break
                await caller.send(GOOD[at : at + 1])
            return (await reply).status

    dawdling = asyncio.gather(*(dawdle() for _ in range(20)))
    # Meanwhile the others are served.
    assert (await client.post("/segment", content=GOOD)).status_code == 200
    assert await dawdling == [408] * 20


async def test_all_at_once(client: httpx.AsyncClient) -> None:
    bodies = [(body(), status) for body, status, *_ in BAD.values()] + [(photo(), 200) for photo, _ in ODD.values()]
    answers = await asyncio.gather(*(client.post("/segment", content=body) for body, _ in bodies))
    assert [answer.status_code for answer in answers] == [status for _, status in bodies]


def test_every_line_of_the_log_is_json_and_none_is_an_error(server: ServerProcess) -> None:
    log = server.log()
    assert log
    assert [line for line in log if line["level"] in ("ERROR", "CRITICAL")] == []
