import asyncio
import socket
from typing import Any

import pytest

from service.backends.torchserve.discovery import Discovery


class Names:
    """A name server: what each host stands for right now; of others nothing is known."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hosts: dict[str, list[str]] = {}
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop.__class__, "getaddrinfo", self.getaddrinfo, raising=False)

    async def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        if host not in self.hosts:
            raise socket.gaierror("Name or service not known")
        return [(0, 0, 0, "", (address, port)) for address in self.hosts[host]]


async def test_a_name_stands_for_many_addresses_that_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch)
    discovery = Discovery("http://workers.svc:8090")
    names.hosts["workers.svc"] = ["10.0.0.1", "10.0.0.2"]
    assert await discovery.addresses() == {"http://10.0.0.1:8090", "http://10.0.0.2:8090"}
    names.hosts["workers.svc"] = ["10.0.0.2", "fd00::3"]
    assert await discovery.addresses() == {"http://10.0.0.2:8090", "http://[fd00::3]:8090"}


async def test_a_name_server_that_fails_takes_no_worker_away(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch)
    names.hosts["workers.svc"] = ["10.0.0.1"]
    discovery = Discovery("http://workers.svc:8090, http://other:8090")
    assert await discovery.addresses() == {"http://10.0.0.1:8090"}
    names.hosts.clear()
    assert await discovery.addresses() == {"http://10.0.0.1:8090"}


async def test_addresses_stand_for_themselves() -> None:
    assert await Discovery("http://127.0.0.1:8090,http://[::1]:8091").addresses() == {
        "http://127.0.0.1:8090",
        "http://[::1]:8091",
    }


@pytest.mark.parametrize(
    "urls",
    ["", " , ", "workers:8090", "https://workers:8090", "http://workers", "http://:8090", "http://workers:99999"],
)
def test_what_is_no_url_is_refused(urls: str) -> None:
    with pytest.raises(ValueError, match="workers_at"):
        Discovery(urls)
