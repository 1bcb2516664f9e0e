"""Reading photos from disk and from a web server; buckets are in test_s3.py."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from labeling import photos
from labeling.errors import PhotoError, TransientError
from labeling.photos import PhotoReader
from tests.labeling.web import web_server


async def read(uri: str) -> bytes:
    reader = PhotoReader()
    try:
        return await reader.read(uri)
    finally:
        await reader.close()


@pytest.fixture
def _small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "MAX_BYTES", 10)


async def test_files_are_read_by_path_and_by_uri(tmp_path: Path) -> None:
    (tmp_path / "a b%20#.jpg").write_bytes(b"photo")
    assert await read(f"{tmp_path}/a b%20#.jpg") == b"photo"
    assert await read(f"file://{tmp_path}/a b%20#.jpg") == b"photo"


@pytest.mark.usefixtures("_small_limit")
async def test_a_file_that_is_too_large_is_not_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(bytes(11))
    with pytest.raises(PhotoError, match="at least 11 bytes, more than the limit of 10") as found:
        await read(f"{tmp_path}/a.jpg")
    assert found.value.code == "body-too-large"


@pytest.mark.parametrize("name", ["nothing.jpg", "file/below", ".", "x" * 300, "nul\0"])
async def test_what_is_no_file_is_permanent(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PhotoError) as found:
        await read(f"{tmp_path}/{name}")
    assert found.value.code == "not-found"
    assert not isinstance(found.value, TransientError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
async def test_a_file_that_may_not_be_read_is_permanent(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"photo")
    (tmp_path / "a.jpg").chmod(0)
    with pytest.raises(PhotoError) as found:
        await read(f"{tmp_path}/a.jpg")
    assert found.value.code == "forbidden"


@pytest.mark.parametrize(
    ("status", "code", "passing"),
    [
        (403, "forbidden", False),
        (401, "forbidden", False),
        (404, "not-found", False),
        (410, "not-found", False),
        (429, "unreachable", True),
        (500, "unreachable", True),
        (503, "unreachable", True),
        (507, "unreachable", True),
        (522, "unreachable", True),
        (530, "unreachable", True),
    ],
)
async def test_what_a_web_server_refuses(status: int, code: str, passing: bool) -> None:
    async with web_server(lambda _: Response(status_code=status)) as url:
        with pytest.raises(PhotoError, match=str(status)) as found:
            await read(f"{url}/a.jpg")
    assert found.value.code == code
    assert isinstance(found.value, TransientError) == passing


async def test_a_web_server_sees_the_address_as_it_is() -> None:
    seen = []

    def answer(request: Request) -> Response:
        seen.append(str(request.url.path) + "?" + request.url.query)
        return Response(b"photo")

    async with web_server(answer) as url:
        assert await read(f"{url}/a%20b.jpg?sig=x%2By&n=1") == b"photo"
    assert seen == ["/a b.jpg?sig=x%2By&n=1"] or seen == ["/a%20b.jpg?sig=x%2By&n=1"]


@pytest.mark.usefixtures("_small_limit")
async def test_an_answer_that_is_too_large_is_cut_short() -> None:
    async with web_server(lambda _: Response(bytes(1000))) as url:
        with pytest.raises(PhotoError) as found:
            await read(f"{url}/a.jpg")
    assert found.value.code == "body-too-large"


async def test_an_answer_that_drips_ends_and_may_do_better_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "_URL_SECONDS", 0.3)

    async def dripping() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"."
            await asyncio.sleep(0.05)

    async with web_server(lambda _: StreamingResponse(dripping())) as url:
        with pytest.raises(TransientError, match=r"not whole after 0\.3 s") as found:
            await read(f"{url}/a.jpg")
    assert found.value.code == "unreachable"


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1/a.jpg", "http://[::1]:1/a.jpg"])
async def test_a_web_server_that_is_not_there_may_come_back(uri: str) -> None:
    with pytest.raises(TransientError) as found:
        await read(uri)
    assert found.value.code == "unreachable"


@pytest.mark.parametrize("uri", ["gopher://host/a.jpg", "http://bad host:x/"])
async def test_an_address_that_makes_no_sense_is_permanent(uri: str) -> None:
    with pytest.raises(PhotoError) as found:
        await asyncio.wait_for(read(uri), 30)
    assert found.value.code == "not-found"
