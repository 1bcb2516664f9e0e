"""The health checks of docker/compose.yaml, run as the container would."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from tests.docker.test_compose import OURS, SERVICES, TARGETS, exposed


@contextmanager
def answering(status: HTTPStatus) -> Iterator[int]:
    """A server whose /readyz has this status; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else HTTPStatus.NOT_FOUND)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def healthy(service: str, port: int) -> bool:
    """What the service's own command finds at another port."""
    how, program, *arguments = SERVICES[service]["healthcheck"]["test"]
    assert (how, program) == ("CMD", "python")
    arguments = [re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", argument) for argument in arguments]
    return subprocess.run([sys.executable, *arguments], capture_output=True).returncode == 0


@pytest.mark.parametrize("service", OURS)
def test_healthy_is_what_is_ready(service: str) -> None:
    with answering(HTTPStatus.OK) as port:
        assert healthy(service, port)
    with answering(HTTPStatus.SERVICE_UNAVAILABLE) as port:
        assert not healthy(service, port)
    assert not healthy(service, port)  # where nobody listens any more


@pytest.mark.parametrize("service", SERVICES)
def test_each_is_asked_at_its_own_port(service: str) -> None:
    (port,) = re.findall(r"http://127\.0\.0\.1:(\d+)/", " ".join(SERVICES[service]["healthcheck"]["test"]))
    if service in OURS:
        assert port in exposed(TARGETS[service])
    else:
        assert any(published.endswith(f":{port}") for published in SERVICES[service]["ports"])
