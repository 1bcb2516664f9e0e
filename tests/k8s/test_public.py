"""A service that components/public opens to the world."""

import logging
from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.server import Server
from service.settings import Settings
from tests.k8s.composed import composed
from tests.k8s.manifests import config, of_kind, pod, the
from tests.service.fakes import FakeBackend


def test_the_public_service_wants_keys_and_shows_no_address_of_its_operators(tmp_path: Path) -> None:
    public = composed(tmp_path, "public")
    gateway = the(public, "Deployment", "segserve-gateway")
    (container,) = pod(gateway)["containers"]
    key_file = config(public, "segserve-gateway")["SEGSERVE_API_KEY_FILE"]
    (mount,) = [mount for mount in container["volumeMounts"] if key_file.startswith(f"{mount['mountPath']}/")]
    (volume,) = [volume for volume in pod(gateway)["volumes"] if volume["name"] == mount["name"]]
    assert volume["secret"] == {"secretName": "segserve-api-keys"}
    (ingress,) = of_kind(public, "Ingress")
    assert ingress["spec"]["tls"]
    for rule in ingress["spec"]["rules"]:
        for path in rule["http"]["paths"]:
            assert not any(hidden.startswith(path["path"]) for hidden in ("/metrics", "/livez", "/readyz"))


def test_the_ingress_takes_all_that_the_gateway_takes(tmp_path: Path) -> None:
    public = composed(tmp_path, "public")
    (ingress,) = of_kind(public, "Ingress")
    prefix = "nginx.ingress.kubernetes.io/proxy-"
    limits = {name.removeprefix(prefix): value for name, value in ingress["metadata"]["annotations"].items()}
    assert int(limits["body-size"].removesuffix("m")) * 2**20 > Settings().max_body_bytes
    assert int(limits["read-timeout"]) * 1000 > int(config(public, "segserve-gateway")["SEGSERVE_MAX_TIMEOUT_MS"])
    # Else a body is kept on the proxy's disk before the gateway may refuse it by its header.
    assert limits["request-buffering"] == "off"


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.244.1.7", "203.0.113.9", "203.0.113.9"),
        # A client that names another, to which its own address is added.
        ("10.244.1.7", "192.0.2.1, 203.0.113.9", "203.0.113.9"),
        ("198.51.100.7", "192.0.2.1", "198.51.100.7"),
    ],
)
async def test_the_log_names_the_client_and_not_the_ingress(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    peer: str,
    forwarded: str,
    client: str,
) -> None:
    monkeypatch.setenv(
        "FORWARDED_ALLOW_IPS", config(composed(tmp_path, "public"), "segserve-gateway")["FORWARDED_ALLOW_IPS"]
    )
    caplog.set_level(logging.INFO, "segserve.request")
    served = Server(create_app(Settings(model="fake"), FakeBackend())).config
    served.load()
    transport = httpx.ASGITransport(served.loaded_app, client=(peer, 40000))
    async with httpx.AsyncClient(transport=transport, base_url="http://segserve") as asking:
        await asking.get("/models", headers={"X-Forwarded-For": forwarded})
    (line,) = [record for record in caplog.records if record.name == "segserve.request"]
    assert vars(line)["client"] == client
