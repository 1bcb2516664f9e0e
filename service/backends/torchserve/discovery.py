"""Where workers are: URLs, whose names may stand for many addresses that come and go."""

import asyncio
import logging
import socket
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

logger = logging.getLogger("segserve")


class Discovery:
    """Of a name that cannot be resolved right now the last addresses hold: each worker's own health says the rest."""

    def __init__(self, urls: str) -> None:
        """urls: URL,URL. Raises ValueError for one that is none."""
        self._urls = [_parse(url.strip()) for url in urls.split(",") if url.strip()]
        if not self._urls:
            raise ValueError("workers_at names no worker: give URL,URL")
        self._last: dict[SplitResult, Sequence[str]] = {}

    async def addresses(self) -> set[str]:
        """Of every worker, as http://ADDRESS:PORT."""
        for url in self._urls:
            try:
                self._last[url] = await _resolve(url)
            except OSError as error:
                logger.warning("%s cannot be resolved: %s", url.hostname, error)
        return {address for addresses in self._last.values() for address in addresses}


def _parse(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        if url.scheme == "http" and url.hostname and url.path in ("", "/") and url.port is not None:
            return url
    except ValueError:
        pass  # a port out of range
    raise ValueError(f"workers_at: '{text}' is not like http://HOST:PORT")


async def _resolve(url: SplitResult) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(url.hostname, url.port, type=socket.SOCK_STREAM)
    hosts = {str(address[4][0]) for address in found}
    return [f"http://[{host}]:{url.port}" if ":" in host else f"http://{host}:{url.port}" for host in sorted(hosts)]
