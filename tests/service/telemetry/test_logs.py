import json
import logging
from collections.abc import Iterator

import pytest

from service.telemetry.logs import configure_logging


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root, access = logging.getLogger(), logging.getLogger("uvicorn.access")
    handlers, level, disabled = root.handlers, root.level, access.disabled
    yield
    root.handlers, access.disabled = handlers, disabled
    root.setLevel(level)


def test_one_json_object_a_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    logging.getLogger("segserve").info("two\nlines of %s", "text", extra={"request_id": "abc", "status": 200})
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    entry = json.loads(line)
    assert entry.pop("time")
    assert entry == {
        "level": "INFO",
        "logger": "segserve",
        "message": "two\nlines of text",
        "request_id": "abc",
        "status": 200,
    }


def test_an_exception_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    try:
        raise ZeroDivisionError("by nothing")
    except ZeroDivisionError:
        logging.getLogger("anything").exception("failed")
    (line,) = capsys.readouterr().err.splitlines()
    assert "ZeroDivisionError: by nothing" in json.loads(line)["exception"]


@pytest.mark.parametrize(("level", "lines"), [("debug", 3), ("info", 2), ("error", 1)])
def test_the_level_is_the_least_severe_that_is_written(
    capsys: pytest.CaptureFixture[str], level: str, lines: int
) -> None:
    configure_logging(level)
    for severity in (logging.DEBUG, logging.INFO, logging.ERROR):
        logging.getLogger("segserve").log(severity, "x")
    assert len(capsys.readouterr().err.splitlines()) == lines


def test_uvicorn_does_not_log_requests_a_second_time(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("debug")
    logging.getLogger("uvicorn.access").info("GET /")
    logging.getLogger("uvicorn.error").info("Uvicorn running")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "Uvicorn running"
