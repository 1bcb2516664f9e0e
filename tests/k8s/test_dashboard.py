"""Every query that ships, asked of a real Prometheus that scrapes a real `segserve serve` under load."""

import json
import math
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import photos
from tests.k8s.manifests import K8S, of_kind, overlay
from tests.k8s.prometheus import NAMESPACE, Prometheus, running_prometheus
from tests.k8s.stand_in import exporter
from tests.service.gateway import PATIENCE
from tests.service.server_process import ServerProcess, server_process
from tests.service.telemetry.collector import collector
from tests.worker.process import worker_process

DASHBOARD = json.loads((K8S / "monitoring" / "dashboard.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = {
    f"{panel['id']} {panel['title']}: {target['refId']}": target["expr"]
    for panel in PANELS
    for target in panel["targets"]
}
BATCH = "segserve-batch"
PHOTO = photos.jpeg(photos.street(120, 160))
# On a machine that stalls anybody may be too late, and a worker is out of service once it seems to be away.
BUSY = (429, 503, 504)


class Load(threading.Thread):
    """Good photos of every priority, some that are refused, some that are none, until it is stopped."""

    def __init__(self, server: ServerProcess) -> None:
        super().__init__()
        self._url = server.url
        self._over = threading.Event()
        self.start()

    def run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=PATIENCE) as client, ThreadPoolExecutor(4) as pool:
            while not self._over.is_set():
                list(pool.map(lambda ask: ask(client), [_good, _good, _good, _urgent, _batch, _hopeless, _broken]))

    def stop(self) -> None:
        self._over.set()
        self.join()


def _good(client: httpx.Client) -> None:
    assert client.post("/segment?output=labels", content=PHOTO).status_code in {200, *BUSY}


def _urgent(client: httpx.Client) -> None:
    answer = client.post("/segment", content=PHOTO, headers={"X-Priority": "interactive"})
    assert answer.status_code in {200, *BUSY}


def _batch(client: httpx.Client) -> None:
    answer = client.post("/segment?output=labels", content=PHOTO, headers={"X-Priority": "batch"})
    assert answer.status_code in {200, *BUSY}


def _hopeless(client: httpx.Client) -> None:
    assert client.post("/segment?timeout_ms=1", content=PHOTO).status_code in BUSY


def _broken(client: httpx.Client) -> None:
    assert client.post("/segment", content=b"text").status_code in {400, *BUSY}


@pytest.fixture(scope="module")
def prometheus(checkpoint_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """After some seconds of load, which goes on: on a gateway with its own network, and on one with a worker."""
    folder = tmp_path_factory.mktemp("dashboard")
    serve = ("-c", "from cli.main import main; main()", "serve", "--port", 0, "--model", "tiny")
    shutil.copytree(checkpoint_dir, folder / "models")
    with ExitStack() as running:
        started = running.enter_context
        prometheus = started(running_prometheus(folder))
        worker = started(worker_process(folder / "models", folder / "worker.log"))
        with_worker = ("--backend", "torchserve", "--workers-at", worker.url)
        gateway = started(server_process([*serve, *with_worker], folder / "gateway.log"))
        traced = ("--model-dir", checkpoint_dir, "--otlp-endpoint", started(collector()).url)
        embedded = started(server_process([*serve, *traced], folder / "embedded.log"))
        prometheus.scrape({"gateway": embedded.url})
        stand_in = started(exporter())
        prometheus.scrape({"gateway": gateway.url, "worker": httpx.URL(worker.url), "stand-in": stand_in}, BATCH)
        for server in (embedded, gateway):
            running.callback(Load(server).stop)
        for namespace in (NAMESPACE, BATCH):
            answers = f'segserve_answer_seconds_count{{priority="batch",namespace="{namespace}"}}'
            prometheus.wait_for(f"rate({answers}[5s]) > 0")
            prometheus.wait_for(f'segserve:devices_demanded{{namespace="{namespace}"}} > 0')
        yield prometheus


def values(series: list[dict[str, Any]]) -> list[float]:
    return [float(one["value"][1]) for one in series]


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_of_the_dashboard_returns_data(prometheus: Prometheus, name: str) -> None:
    expression = QUERIES[name].replace("$namespace", ".*").replace("$__rate_interval", "1m")
    assert "$" not in expression
    found = values(prometheus.wait_for(expression))
    assert not any(math.isnan(value) for value in found)


@pytest.mark.parametrize("name", ["keda", "batch"])
def test_a_trigger_gets_one_number(prometheus: Prometheus, name: str) -> None:
    for scaled in of_kind(overlay(name), "ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            if trigger["type"] == "prometheus":
                assert len(prometheus.wait_for(trigger["metadata"]["query"])) == 1


def test_the_namespaces_to_choose_from_are_found(prometheus: Prometheus) -> None:
    (namespaces,) = [v for v in DASHBOARD["templating"]["list"] if v["name"] == "namespace"]
    assert namespaces["query"] == "label_values(segserve_ready, namespace)"
    # As Grafana, which looks for series of a span of time: at any one moment a slow scrape may have been lost.
    found = prometheus.query("last_over_time(segserve_ready[5m])")
    assert {one["metric"]["namespace"] for one in found} == {NAMESPACE, BATCH}


def test_alerts_are_about_what_happens(prometheus: Prometheus) -> None:
    # One photo in seven is refused.
    assert prometheus.wait_for('ALERTS{alertname="SegserveGoodputBurnsFast",alertstate="firing"}')
    expected = "SegserveGoodputBurnsFast|SegserveGoodputBurnsSlowly|SegserveRefusing"
    # Pending ones count too, but for those that pass: while a slow scrape is lost the service seems to be down.
    assert prometheus.wait_for(f'absent(ALERTS{{alertname!~"{expected}"}})')


def test_panels_do_not_overlap_and_have_numbers_of_their_own() -> None:
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))


def test_a_slow_answer_leads_to_its_trace(prometheus: Prometheus) -> None:
    """Exemplars come by OpenMetrics, which Prometheus asks for by itself."""
    (series, *_) = prometheus.exemplars("segserve_answer_seconds_bucket")
    assert len(series["exemplars"][0]["labels"]["trace_id"]) == 32
