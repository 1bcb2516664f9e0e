"""A real Azure Blob protocol server: Azurite, which npm brings."""

import base64
import hashlib
import hmac
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

from tests.programs import program
from tests.service.gateway import PATIENCE

CONTAINER = "photos-and-labels"
# The account that every Azurite has, as its documentation says.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

_VERSION = "2021-12-02"


@contextmanager
def azure_server(folder: Path) -> Iterator[str]:
    """Its URL, with an empty container. It is installed into `folder`."""
    npm, node = (program(name, "https://nodejs.org") for name in ("npm", "node"))
    shutil.copytree(Path(__file__).parent / "azurite", folder, dirs_exist_ok=True)
    subprocess.run([npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder, check=True)
    server = "node_modules/azurite/dist/src/blob/main.js"
    command = [node, server, "--blobPort", "0", "--inMemoryPersistence", "--disableTelemetry"]
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=file)
    try:
        url = _address(process, log)
        _create_container(url)
        yield url
    finally:
        process.kill()
        process.wait()


def environment(url: str) -> dict[str, str]:
    """What makes obstore talk to this server."""
    return {
        "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
        "AZURE_STORAGE_ACCOUNT_KEY": KEY,
        "AZURE_ENDPOINT": f"{url}/{ACCOUNT}",
        "AZURE_ALLOW_HTTP": "true",
    }


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(PATIENCE * 10):
        _, found, address = log.read_text().partition("successfully listens on ")
        if found and address.endswith("\n"):
            return address.strip()
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise TimeoutError(log.read_text())


def _create_container(url: str) -> None:
    """obstore makes none, so this one request is signed here."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": _VERSION}
    lines = [f"{name}:{value}" for name, value in headers.items()]
    place = f"/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
    # Eleven standard headers, all of them empty.
    signed = "\n".join(["PUT", *[""] * 11, *lines, place])
    signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), signed.encode(), hashlib.sha256)).decode()
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{signature}"
    address = f"{url}/{ACCOUNT}/{CONTAINER}?restype=container"
    urllib.request.urlopen(urllib.request.Request(address, method="PUT", headers=headers)).close()
