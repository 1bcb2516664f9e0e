"""`segserve serve` itself, fed with all that callers get wrong: each has its status, and none costs the others."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from images import decode_label_map
from tests import photos
from tests.service.connection import connection
from tests.service.gateway import PATIENCE
from tests.service.problems import problem_of
from tests.service.server_process import ServerProcess, server_process

STREET = photos.street(60, 80)
GOOD = photos.jpeg(STREET)
MAX_BODY_BYTES = 4 * 2**20
GROWTH = 96 * 2**20
"""What the resident memory may grow by for one input."""
FULL_HOUSE_GROWTH = 256 * 2**20
"""For all of them at once, of which allocators give back little."""


@pytest.fixture(scope="module")
def server(checkpoint_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Answers for the model tiny, on a free port, with a short patience for bodies."""
    log = tmp_path_factory.mktemp("server") / "log"
    flags = {
        "--port": 0,
        "--model": "tiny",
        "--model-dir": checkpoint_dir,
        "--max-body-bytes": MAX_BODY_BYTES,
        "--body-timeout-ms": 5000,
        # The largest photos here are 10 000 times as large as the first: were that held up, they would look slow.
        "--timeout-ms": 600_000,
        "--max-timeout-ms": 600_000,
    }
    command = ["-c", "from cli.main import main; main()", "serve"]
    with server_process([*command, *(part for flag in flags.items() for part in flag)], log) as started:
        with httpx.Client(base_url=started.url, timeout=PATIENCE) as opened:
            for _ in range(2):
                opened.post("/segment", content=GOOD).raise_for_status()
        yield started
        started.send(signal.SIGTERM)
        assert started.wait() == 0
        assert "Application shutdown complete." in log.read_text(encoding="utf-8")


@pytest.fixture
async def client(server: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    """After each test the server still runs, has not grown, and still answers a good photo."""
    async with watched(server, GROWTH) as opened:
        yield opened


@asynccontextmanager
async def watched(server: ServerProcess, growth: int) -> AsyncIterator[httpx.AsyncClient]:
    before = server.peak_memory()
    async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE) as opened:
        yield opened
        assert server.running()
        assert server.peak_memory() - before < growth
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


async def test_all_at_once(server: ServerProcess) -> None:
    bodies = [(body(), status) for body, status, *_ in BAD.values()] + [(photo(), 200) for photo, _ in ODD.values()]
    async with watched(server, FULL_HOUSE_GROWTH) as client:
        answers = await asyncio.gather(*(client.post("/segment", content=body) for body, _ in bodies))
    assert [answer.status_code for answer in answers] == [status for _, status in bodies]


def test_every_line_of_the_log_is_json_and_none_is_an_error(server: ServerProcess) -> None:
    log = server.log()
    assert log
    assert [line for line in log if line["level"] in ("ERROR", "CRITICAL")] == []
