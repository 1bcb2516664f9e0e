"""What Prometheus adds up over several gateways, and over one that is killed and started again."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from tests import photos
from tests.k8s.prometheus import SCRAPE_SECONDS, Prometheus, running_prometheus
from tests.service.gateway import PATIENCE
from tests.service.server_process import ServerProcess, server_process

PHOTO = photos.png(photos.street(48, 80))
ANSWERED = 'segserve_requests_total{route="/segment",status="200"}'


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Prometheus]:
    folder = tmp_path / "prometheus"
    folder.mkdir()
    with running_prometheus(folder) as running:
        yield running


def gateway(log: Path) -> AbstractContextManager[ServerProcess]:
    return server_process(["-m", "tests.service.slow_server", "--seconds", 0, "--drain-s", 1], log)


def ask(server: ServerProcess, times: int) -> None:
    with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        for _ in range(times):
            client.post("/segment?output=labels", content=PHOTO).raise_for_status()


def wait_for(prometheus: Prometheus, expression: str) -> None:
    prometheus.wait_for(expression)
    # One more scrape, after which nothing changes.
    time.sleep(2 * SCRAPE_SECONDS)


def test_a_restart_loses_nothing_and_gateways_add_up(prometheus: Prometheus, tmp_path: Path) -> None:
    with gateway(tmp_path / "first") as first, gateway(tmp_path / "second") as second:
        prometheus.scrape({"a": first.url, "b": second.url})
        # Of two models.
        wait_for(prometheus, f"count({ANSWERED} == 0) == 4")
        ask(first, 40)
        ask(second, 20)
        wait_for(prometheus, f"sum({ANSWERED}) == 60")
    # Both were killed. One comes back, from zero, under its old name.
    with gateway(tmp_path / "third") as third:
        prometheus.scrape({"a": third.url})
        ask(third, 30)
        wait_for(prometheus, f'sum({ANSWERED[:-1]},instance="a"}}) == 30')
        # Never less than there were. More, as each series is drawn on by up to the time between two of its samples: the
        # longer, the more scrapes are lost. Whoever counted the first gateway twice would come to 130.
        assert 40 + 20 + 30 - 0.01 < prometheus.value(f"sum(increase({ANSWERED}[5m]))") < 120
