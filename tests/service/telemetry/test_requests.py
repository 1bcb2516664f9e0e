import hashlib
import logging
from pathlib import Path

import pytest

from tests import photos
from tests.service.fakes import FakeBackend
from tests.service.gateway import Gateway, gateway

PHOTO = photos.png(photos.street(8, 8))


def lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "segserve.request"]


@pytest.mark.parametrize("given", ["abc", "0" * 128, "7d1f-4e/3:2=1", "<script>"])
async def test_the_callers_id_comes_back(served: Gateway, given: str) -> None:
    for path in ("/livez", "/nowhere"):
        response = await served.client.get(path, headers={"X-Request-Id": given})
        assert response.headers.get_list("x-request-id") == [given]


@pytest.mark.parametrize(
    "hostile", [b"", b"0" * 129, b"two words", b"tab\there", b"caf\xe9", b"\x00", b"line\nSet-Cookie: a=b", b"\x1b[31m"]
)
async def test_a_hostile_id_is_replaced(served: Gateway, hostile: bytes) -> None:
    response = await served.client.get("/livez", headers=[(b"X-Request-Id", hostile)])
    request_id = response.headers["x-request-id"]
    assert request_id.encode("latin-1") != hostile
    assert len(request_id) == 32
    assert request_id.isalnum()


async def test_ids_differ(served: Gateway) -> None:
    ids = {(await served.client.get("/livez")).headers["x-request-id"] for _ in range(20)}
    assert len(ids) == 20


async def test_one_line_a_request(served: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "segserve.request")
    await served.client.post("/segment?output=labels", content=PHOTO, headers={"X-Request-Id": "abc"})
    (line,) = lines(caplog)
    assert line.getMessage() == "POST /segment 200"
    assert line.levelno == logging.INFO
    told = vars(line)
    assert (told["request_id"], told["model"], told["status"], told["method"]) == ("abc", "fake@2", 200, "POST")
    assert told["milliseconds"] > 0


async def test_the_line_says_who_asked_for_how_much_and_nothing_of_the_photo_or_the_key(
    backend: FakeBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key_file = tmp_path / "keys"
    key_file.write_text(f"{hashlib.sha256(b'sesame').hexdigest()} name=cameras\n")
    caplog.set_level(logging.DEBUG)
    async with gateway(backend, api_key_file=key_file) as served:
        headers = {"Authorization": "Bearer sesame"}
        answer = await served.client.post("/segment?output=labels", content=PHOTO, headers=headers)
        refused = await served.client.post("/segment", content=PHOTO, headers={"X-API-Key": "wrong-one"})
    assert (answer.status_code, refused.status_code) == (200, 403)
    accepted, turned_away = (vars(line) for line in lines(caplog))
    assert (accepted["key"], accepted["client"]) == ("cameras", "127.0.0.1")
    assert (accepted["bytes_in"], accepted["bytes_out"]) == (len(PHOTO), len(answer.content))
    assert (turned_away["key"], turned_away["status"], turned_away["bytes_in"]) == ("", 403, 0)
    told = "".join(str(vars(record)) for record in caplog.records if record.name.startswith("segserve"))
    assert "sesame" not in told
    assert "wrong-one" not in told
    assert str(PHOTO[:8])[2:-1] not in told


async def test_the_line_of_a_request_over_its_keys_limit_names_the_key(
    backend: FakeBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key_file = tmp_path / "keys"
    key_file.write_text(f"{hashlib.sha256(b'sesame').hexdigest()} name=cameras rate=0.001\n")
    caplog.set_level(logging.INFO, "segserve.request")
    async with gateway(backend, api_key_file=key_file) as served:
        for _ in range(2):
            await served.client.post("/segment", content=PHOTO, headers={"X-API-Key": "sesame"})
    assert [(vars(line)["status"], vars(line)["key"]) for line in lines(caplog)] == [(200, "cameras"), (429, "cameras")]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_probes_are_logged_for_debugging_alone(
    served: Gateway, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    caplog.set_level(logging.DEBUG, "segserve.request")
    await served.client.get(path)
    assert [record.levelno for record in lines(caplog)] == [logging.DEBUG]


async def test_addresses_are_counted_as_they_are_declared(served: Gateway) -> None:
    await served.client.get("/models/fake")
    await served.client.get("/models/other")
    await served.client.get("/labelsets/camvid11")
    for i in range(5):
        await served.client.get(f"/scan/{i}")
    assert served.metric("segserve_requests_total", route="/models/{name}", model="", status=200) == 1
    assert served.metric("segserve_requests_total", route="/models/{name}", model="", status=404) == 1
    assert served.metric("segserve_requests_total", route="/labelsets/{name}", model="", status=200) == 1
    assert served.metric("segserve_requests_total", route="unmatched", model="", status=404) == 5


async def test_an_unknown_model_makes_no_metric(served: Gateway) -> None:
    await served.segment(PHOTO, model="made-up")
    assert b"made-up" not in served.pipeline.metrics.render([])[0]


async def test_errors_name_the_model_too(served: Gateway) -> None:
    response = await served.segment(b"text")
    assert response.status_code == 400
    assert (response.headers["x-model"], response.headers["x-label-set"]) == ("fake@2", "camvid11")
    assert served.metric("segserve_requests_total", route="/segment", model="fake@2", status=400) == 1


async def test_requests_in_flight(served: Gateway) -> None:
    await served.segment(PHOTO)
    await served.segment(b"")
    await served.client.get("/nowhere")
    assert served.metric("segserve_requests_in_flight") == 0
    assert served.metric("segserve_request_seconds_count", route="/segment", model="fake@2") == 2
