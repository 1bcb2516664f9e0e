import asyncio
import hashlib
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.datastructures import Headers

from service.api.allowance import Allowance
from service.api.keys import ApiKeys
from service.errors import KeyLimited, KeyUnknown
from tests import photos
from tests.service.fakes import FakeBackend, FakeDevice
from tests.service.gateway import gateway
from tests.service.problems import problem_of

PHOTO = photos.png(photos.street(8, 8))


def line(key: str, comment: str = "") -> str:
    return f"{hashlib.sha256(key.encode('latin-1')).hexdigest()} {comment}\n"


def rewrite(path: Path, content: str) -> None:
    """As if some time later: a file's times are coarse."""
    later = path.stat().st_mtime_ns + 10**9 if path.exists() else time.time_ns()
    path.write_text(content)
    os.utime(path, ns=(later, later))


def name_of(keys: ApiKeys, key: str) -> str:
    """Of a key that asks for a photo."""
    name = keys.identify(Headers({"X-API-Key": key}))
    with keys.admitted(name):
        return name


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
    assert name_of(keys, "open")
    rewrite(key_file, line("new"))
    assert name_of(keys, "new")
    with pytest.raises(KeyUnknown):
        name_of(keys, "open")


@pytest.mark.parametrize("content", ["no hash\n", None])
def test_a_file_that_breaks_while_the_service_runs_changes_nothing(
    key_file: Path, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    keys = ApiKeys(key_file)
    if content is None:
        key_file.unlink()
    else:
        rewrite(key_file, content)
    assert name_of(keys, "open")
    assert "the API keys stay as they were" in caplog.text
    rewrite(key_file, line("new"))
    assert name_of(keys, "new")


def test_keys_have_names_for_the_log(key_file: Path) -> None:
    rewrite(key_file, line("open", "name=cameras of the city") + line("sesame", "nameless"))
    keys = ApiKeys(key_file)
    assert name_of(keys, "open") == "cameras"
    assert name_of(keys, "sesame") == line("sesame")[:8]


@pytest.fixture
def _no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a slow machine might give a key its next photo."""
    monkeypatch.setattr("service.api.keys.Allowance", partial(Allowance, clock=lambda: 0.0))


@pytest.mark.usefixtures("_no_time_passes")
def test_a_key_that_asks_too_often_waits_and_the_others_do_not(key_file: Path) -> None:
    rewrite(key_file, line("open", "rate=2") + line("sesame", "rate=0.5"))
    limited: list[str] = []
    keys = ApiKeys(key_file, limited.append)
    for _ in range(2):
        name_of(keys, "open")
    with pytest.raises(KeyLimited, match="2 photos a second") as refused:
        name_of(keys, "open")
    assert refused.value.retry_after == 0.5
    assert limited == [line("open")[:8]]
    # A slow rate still has room for one.
    name_of(keys, "sesame")
    with pytest.raises(KeyLimited):
        name_of(keys, "sesame")


@pytest.mark.usefixtures("_no_time_passes")
def test_keys_of_one_name_share_its_limits_so_that_a_rotation_gives_no_more(key_file: Path) -> None:
    rewrite(key_file, line("open", "name=cams rate=1") + line("sesame", "name=cams rate=1"))
    keys = ApiKeys(key_file)
    name_of(keys, "open")
    with pytest.raises(KeyLimited):
        name_of(keys, "sesame")
    rewrite(key_file, line("sesame", "name=cams rate=1"))
    with pytest.raises(KeyLimited):
        name_of(keys, "sesame")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("rate=0", "rate=0 is not a number above 0"),
        ("rate=fast", "rate=fast"),
        ("rate=nan", "rate=nan"),
        ("concurrency=-1", "concurrency=-1"),
        ("rtae=5", "'rtae=' is not known"),
    ],
)
def test_a_wrong_limit_is_refused_at_start(key_file: Path, words: str, complaint: str) -> None:
    rewrite(key_file, line("open", words))
    with pytest.raises(ValueError, match=complaint):
        ApiKeys(key_file)


def test_one_name_has_one_set_of_limits(key_file: Path) -> None:
    rewrite(key_file, line("open", "name=cams rate=1") + line("sesame", "name=cams rate=2"))
    with pytest.raises(ValueError, match="different limits"):
        ApiKeys(key_file)


async def test_more_at_once_than_a_key_may_is_refused_and_what_ends_makes_room(
    backend: FakeBackend, device: FakeDevice, key_file: Path
) -> None:
    rewrite(key_file, line("open", "name=cams concurrency=2") + line("sesame"))
    async with gateway(backend, api_key_file=key_file) as served:

        def ask(key: str) -> asyncio.Task[httpx.Response]:
            return asyncio.create_task(served.client.post("/segment", content=PHOTO, headers={"X-API-Key": key}))

        device.gate.clear()
        running = [ask("open"), ask("open"), ask("sesame")]
        await served.until("segserve_admitted_total", 3, model="fake@2", priority="normal")
        refused = await ask("open")
        assert "2 photos at once" in problem_of(refused, 429, "key-limited")["detail"]
        assert int(refused.headers["retry-after"]) >= 1
        assert served.metric("segserve_key_limited_total", key="cams") == 1
        device.gate.set()
        assert [answer.status_code for answer in await asyncio.gather(*running)] == [200] * 3
        assert (await ask("open")).status_code == 200
        # Their client's doing, not the service's.
        assert served.metric("segserve_refused_total", reason="deadline") == 0


@pytest.mark.parametrize("text", ["open\n", "abcd\n", line("open")[2:]])
def test_a_line_that_is_no_hash_is_refused_at_start(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(ValueError, match="is not a SHA-256"):
        ApiKeys(path)


def test_a_file_that_is_not_there_is_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ApiKeys(tmp_path / "keys")
