import base64
import json
import re
import sys

import pytest

from loadtests.photos import lean_photo
from loadtests.rivals.options import Options, inherited, parse
from loadtests.rivals.table import RIVALS, Rival

VERSIONS = {
    "litserve": "0.2.19",
    "ray": "2.60.0",
    "bentoml": "1.4.40",
    "mlserver": "1.7.1",
    "torchserve": "0.12.0",
}


def test_every_requirement_is_pinned() -> None:
    pins: dict[str, str] = {}
    for rival in RIVALS:
        for line in rival.requirements.read_text().splitlines():
            found = re.fullmatch(r"([\w.-]+)==([\w.]+)", line)
            assert found, f"{rival.name}: {line}"
            pins[found[1].lower()] = found[2]
    assert {name: pins[name] for name in VERSIONS} == VERSIONS


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.name)
def test_the_whole_photo_is_posted(rival: Rival) -> None:
    photo = lean_photo()
    head, _, body = rival.request(photo).wire.partition(b"\r\n\r\n")
    assert head.startswith(f"POST {rival.path} ".encode())
    assert f"Content-Length: {len(body)}".encode() in head
    if rival.content_type == "application/json":
        assert base64.b64encode(photo.body).decode() in json.dumps(json.loads(body))
    else:
        assert body == photo.body


def test_a_command_carries_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(1234, 500, 100.5, work="engine", model="a@1", workers=2, batch=4, packages="/with a space")
    command = RIVALS[0].command(options)
    assert list(command[1:4]) == ["-m", "loadtests.rivals.litserve", "--port=1234"]
    monkeypatch.setenv("LOADTESTS_OPTIONS", "")
    monkeypatch.setattr(sys, "argv", list(command[2:]))
    assert parse() == inherited() == options


def test_what_may_wait_is_answered_by_the_deadline() -> None:
    options = Options(0, 500, capacity=100)
    assert options.wait_seconds == pytest.approx(0.358)
    assert options.queue_limit == 28
    assert (Options(0).wait_seconds, Options(0).queue_limit) == (None, None)
