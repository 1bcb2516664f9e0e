import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import Headers

from service.api.keys import ApiKeys
from service.errors import KeyUnknown
from tests import photos
from tests.service.fakes import FakeBackend
from tests.service.gateway import gateway
from tests.service.problems import problem_of

PHOTO = photos.png(photos.street(8, 8))


def line(key: str, comment: str = "") -> str:
    return f"{hashlib.sha256(key.encode('latin-1')).hexdigest()} {comment}\n"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Knows the keys open and sesame."""
    path = tmp_path / "keys"
    path.write_text(line("open", "for the cameras") + "\n" + line("sesame"))
    return path


@pytest.mark.parametrize(
    ("headers", "status", "cause"),
    [
        ({}, 401, "key-missing"),
        ({"Authorization": "Bearer "}, 401, "key-missing"),
        ({"Authorization": "Basic open"}, 401, "key-missing"),
        ({"Authorization": "Bearer close"}, 403, "key-unknown"),
        ({"X-API-Key": "OPEN"}, 403, "key-unknown"),
        ({"X-API-Key": b"\xe9\xff"}, 403, "key-unknown"),
        ({"Authorization": f"Bearer {line('open').strip()}"}, 403, "key-unknown"),
    ],
)
async def test_without_a_valid_key(
    backend: FakeBackend, key_file: Path, headers: dict[str, Any], status: int, cause: str
) -> None:
    async with gateway(backend, api_key_file=key_file) as served:
        response = await served.client.post("/segment", content=PHOTO, headers=headers)
        problem_of(response, status, cause)
        assert ("www-authenticate" in response.headers) == (status == 401)
        assert served.metric("segserve_admitted_total", model="fake@2", priority="normal") == 0


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": "Bearer open"}, {"Authorization": "bearer  sesame "}, {"X-API-Key": "open"}],
)
async def test_with_a_valid_key(backend: FakeBackend, key_file: Path, headers: dict[str, str]) -> None:
    async with gateway(backend, api_key_file=key_file) as served:
        assert (await served.client.post("/segment", content=PHOTO, headers=headers)).status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/models", "/labelsets"])
async def test_only_segment_asks_for_one(backend: FakeBackend, key_file: Path, path: str) -> None:
    async with gateway(backend, api_key_file=key_file) as served:
        assert (await served.client.get(path)).status_code == 200


def test_keys_change_while_the_service_runs(key_file: Path) -> None:
    keys = ApiKeys(key_file)
    keys.check(Headers({"X-API-Key": "open"}))
    key_file.write_text(line("new"))
    os.utime(key_file, ns=(0, 0))  # a time that surely differs
    keys.check(Headers({"X-API-Key": "new"}))
    with pytest.raises(KeyUnknown):
        keys.check(Headers({"X-API-Key": "open"}))


@pytest.mark.parametrize("text", ["open\n", "abcd\n", line("open")[2:]])
def test_a_line_that_is_no_hash_is_refused_at_start(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(ValueError, match="is not a SHA-256"):
        ApiKeys(path)


def test_a_file_that_is_not_there_is_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ApiKeys(tmp_path / "keys")
