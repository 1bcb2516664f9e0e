"""A real S3 protocol server (moto's), and a proxy before it that throttles and cuts answers off."""

import http.client
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.service.gateway import PATIENCE

BUCKET = "photos-and-labels"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


@contextmanager
def s3_server(log: Path) -> Iterator[str]:
    """Its URL, with an empty bucket."""
    command = [sys.executable, "-m", "moto.server", "--port", "0"]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        url = _address(process, log)
        urllib.request.urlopen(urllib.request.Request(f"{url}/{BUCKET}", method="PUT")).close()
        yield url
    finally:
        process.kill()
        process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(PATIENCE * 10):
        for line in log.read_text().splitlines():
            if "Running on " in line:
                return line.rpartition("Running on ")[2].strip()
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise TimeoutError(log.read_text())


def environment(url: str) -> dict[str, str]:
    """What makes obstore talk to this server."""
    return ENVIRONMENT | {"AWS_ENDPOINT_URL": url, "AWS_ALLOW_HTTP": "true"}


Fault = Callable[[str, str], str | None]
"""Of a request's method and path: "slow down", "cut" (the answer's body, by a reset), or None."""

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@contextmanager
def faulty(upstream: str, fault: Fault) -> Iterator[str]:
    """The URL of a proxy before `upstream` whose answers go wrong as `fault` says."""
    host = upstream.removeprefix("http://")

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            what = fault(self.command, self.path)
            if what == "slow down":
                self._answer(503, {"Content-Type": "application/xml"}, SLOW_DOWN)
                return
            connection = http.client.HTTPConnection(host, timeout=PATIENCE)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            left_out = ("connection", "transfer-encoding", "content-length", "server", "date")
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in left_out}
            if self.command == "HEAD":
                headers["Content-Length"] = answer.getheader("Content-Length") or "0"
            self._answer(answer.status, headers, content, cut=what == "cut")

        def _answer(self, status: int, headers: dict[str, str], content: bytes, *, cut: bool = False) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if cut else content)
            if cut:
                self.close_connection = True

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _forward

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
