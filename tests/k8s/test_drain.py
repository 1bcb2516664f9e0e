"""A pod is deleted under load, as kubelet and Service do it, by the manifest's own figures."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests import photos
from tests.k8s.manifests import overlay, pod, the
from tests.service.gateway import PATIENCE
from tests.service.server_process import ServerProcess, server_process

PHOTO = photos.png(photos.street(48, 80))
PROPAGATION_SECONDS = 2.0
"""Until every node has heard that an endpoint is gone."""
CLIENTS = 8


@dataclass
class Service:
    """Picks one of the pods behind it for every connection, as kube-proxy does; those that are open stay."""

    endpoints: list[ServerProcess]
    outcomes: Counter[int] = field(default_factory=Counter)
    over: bool = False
    _turn: int = 0

    def pick(self) -> httpx.URL:
        self._turn += 1
        return self.endpoints[self._turn % len(self.endpoints)].url

    async def ask_with_new_connections(self) -> None:
        """As a proxy without keep-alive, or many callers, would."""
        while not self.over:
            async with httpx.AsyncClient(base_url=self.pick(), timeout=PATIENCE) as client:
                await self._ask(client)

    async def ask_over_one_connection(self, pause: float) -> None:
        """As a caller that keeps it, and waits between photos, until it is told to go elsewhere."""
        while not self.over:
            async with httpx.AsyncClient(base_url=self.pick(), timeout=PATIENCE) as client:
                while await self._ask(client) and not self.over:  # noqa: ASYNC110 (it is the pace of this caller)
                    await asyncio.sleep(pause)

    async def _ask(self, client: httpx.AsyncClient) -> bool:
        """Whether the connection stays open. Raises httpx.TransportError where it was reset or refused."""
        answer = await client.post("/segment?output=labels", content=PHOTO)
        self.outcomes[answer.status_code] += 1
        stay: bool = answer.headers.get("connection") != "close"
        return stay


@pytest.fixture
def gateways(tmp_path: Path) -> Iterator[list[ServerProcess]]:
    arguments = ["-m", "tests.service.slow_server", "--seconds", 0.1, "--drain-s", 60]
    with ExitStack() as running:
        yield [running.enter_context(server_process(arguments, tmp_path / name)) for name in ("leaving", "staying")]


async def delete(leaving: ServerProcess, service: Service, pause: float, grace: float) -> float:
    """What happens to a deleted pod; the seconds that it lived on."""
    began = time.monotonic()

    async def forget_endpoint() -> None:
        await asyncio.sleep(PROPAGATION_SECONDS)
        service.endpoints.remove(leaving)

    forgetting = asyncio.create_task(forget_endpoint())
    await asyncio.sleep(pause)
    leaving.send(signal.SIGTERM)
    await forgetting
    assert await asyncio.to_thread(leaving.wait, grace - pause) == 0
    return time.monotonic() - began


async def test_a_deleted_pod_loses_nothing(gateways: list[ServerProcess]) -> None:
    gateway = the(overlay("gpu"), "Deployment", "segserve-gateway")
    (container,) = pod(gateway)["containers"]
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = pod(gateway)["terminationGracePeriodSeconds"]
    assert pause > PROPAGATION_SECONDS
    leaving, _ = gateways
    service = Service(list(gateways))
    async with asyncio.TaskGroup() as asking:
        for number in range(CLIENTS // 2):
            asking.create_task(service.ask_with_new_connections())
            # Some are seldom heard of, but long before an idle connection is closed.
            asking.create_task(service.ask_over_one_connection(pause=number / 2))
        await asyncio.sleep(1)
        lived_on = await delete(leaving, service, pause, grace)
        await asyncio.sleep(1)
        service.over = True
    assert pause < lived_on < grace
    # Nobody met a reset, a refused connection or a 503, those neither whose connections outlived the endpoint.
    assert service.outcomes.keys() == {200}
    assert service.outcomes[200] > 30
    answered = [line["status"] for server in gateways for line in server.log() if "POST /segment" in line["message"]]
    assert answered == [200] * service.outcomes[200]
