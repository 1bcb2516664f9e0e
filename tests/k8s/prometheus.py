"""A real Prometheus, with the rules that ship, scraping every second."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.k8s.test_rules import SPEC
from tests.programs import prometheus
from tests.service.gateway import PATIENCE

NAMESPACE = "segserve"
SCRAPE_SECONDS = 1


class Prometheus:
    """One that answers."""

    def __init__(self, client: httpx.Client, targets: Path) -> None:
        self._client, self._targets = client, targets
        self._scraped: dict[str, Mapping[str, httpx.URL]] = {}

    def scrape(self, targets: Mapping[str, httpx.URL], namespace: str = NAMESPACE) -> None:
        """From now on, these in the namespace, by what becomes their label `instance`."""
        self._scraped[namespace] = targets
        groups = [
            {"targets": [f"{url.host}:{url.port}"], "labels": {"instance": name, "namespace": namespace}}
            for namespace, targets in self._scraped.items()
            for name, url in targets.items()
        ]
        self._targets.write_text(json.dumps(groups))

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query. Raises HTTPStatusError for one that Prometheus does not understand."""
        answer = self._client.get("/api/v1/query", params={"query": expression})
        answer.raise_for_status()
        series: list[dict[str, Any]] = answer.json()["data"]["result"]
        return series

    def exemplars(self, expression: str) -> list[dict[str, Any]]:
        """The series with exemplars of the last minute."""
        now = time.time()
        window: dict[str, str | float] = {"query": expression, "start": now - 60, "end": now}
        answer = self._client.get("/api/v1/query_exemplars", params=window)
        answer.raise_for_status()
        series: list[dict[str, Any]] = answer.json()["data"]
        return series

    def value(self, expression: str) -> float:
        """Of a query with at most one series; 0 where there is none."""
        values = [float(one["value"][1]) for one in self.query(expression)]
        assert len(values) <= 1
        return sum(values)

    def wait_for(self, expression: str) -> list[dict[str, Any]]:
        """The series of `expression`, as soon as there are any."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if series := self.query(expression):
                return series
            time.sleep(SCRAPE_SECONDS)
        raise TimeoutError(f"nothing answers {expression}")


@contextmanager
def running_prometheus(folder: Path) -> Iterator[Prometheus]:
    """In an empty `folder`, on a free port; it scrapes nobody yet."""
    targets, configuration, rules = folder / "targets.json", folder / "prometheus.yaml", folder / "rules.yaml"
    targets.write_text("[]")
    # The rules' own intervals are minutes' worth of test.
    groups = [group | {"interval": "200ms"} for group in SPEC["groups"]]
    rules.write_text(yaml.safe_dump({"groups": groups}))
    configuration.write_text(
        yaml.safe_dump(
            {
                # A scrape that takes longer is lost, and its series are gone until the next.
                "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "scrape_timeout": f"{SCRAPE_SECONDS}s"},
                "rule_files": [str(rules)],
                "scrape_configs": [
                    {
                        "job_name": "segserve",
                        "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "200ms"}],
                    }
                ],
            }
        )
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        prometheus(),
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            _wait_until_ready(process, client, folder / "log")
            yield Prometheus(client, targets)
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], client: httpx.Client, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            if client.get("/-/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise TimeoutError(log.read_text())
