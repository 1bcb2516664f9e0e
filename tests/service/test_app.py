import asyncio
import logging
import subprocess
import sys

import httpx
import pytest

from service.app import create_app
from service.errors import NotReady, UnknownModel
from service.settings import Settings
from tests import photos
from tests.service.fakes import FakeBackend
from tests.service.gateway import gateway

WITHOUT_TORCH = """
import asyncio, sys
for name in ("torch", "safetensors"):
    sys.modules[name] = None  # importing it raises ImportError
from tests import photos
from tests.service.fakes import FakeBackend
from tests.service.gateway import gateway

async def main():
    async with gateway(FakeBackend()) as served:
        print((await served.segment(photos.png(photos.street(8, 8)))).status_code)

asyncio.run(main())
"""


def test_the_base_install_serves_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, timeout=120)
    assert (done.stdout.strip(), done.returncode) == ("200", 0), done.stderr


def test_a_default_model_that_is_not_served_is_refused_at_start(backend: FakeBackend) -> None:
    with pytest.raises(UnknownModel, match="fake@1, fake@2"):
        create_app(Settings(model="other"), backend)


async def test_a_failed_start_is_logged_and_reported(backend: FakeBackend, caplog: pytest.LogCaptureFixture) -> None:
    backend.failure = RuntimeError("the weights are gone")
    failed = asyncio.Event()
    app = create_app(Settings(model="fake"), backend, on_failed_start=failed.set)
    async with app.router.lifespan_context(app):
        await asyncio.wait_for(failed.wait(), 10)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://segserve") as client:
            assert (await client.get("/livez")).status_code == 200
            assert (await client.get("/readyz")).status_code == 503
    assert "the weights are gone" in caplog.text


async def test_stops_while_it_is_still_loading(backend: FakeBackend) -> None:
    backend.loaded.clear()
    async with asyncio.timeout(10), gateway(backend, ready=False):
        pass


async def test_a_stopped_service_is_not_ready_and_has_freed_its_devices(backend: FakeBackend) -> None:
    async with gateway(backend) as served:
        assert served.metric("segserve_ready") == 1
    assert served.metric("segserve_ready") == 0
    assert not backend.devices
    with pytest.raises(NotReady):
        served.pipeline.lifecycle.require_ready()


async def test_says_at_start_what_the_weights_may_be_used_for(
    backend: FakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "segserve"):
        async with gateway(backend):
            pass
    assert "fake@2 is ready (camvid11, eager engine). Licence: Free for tests" in caplog.text
    assert "POST a photo to /segment; fake@2 is the default model" in caplog.text


async def test_applications_share_nothing() -> None:
    async with gateway(FakeBackend()) as first, gateway(FakeBackend()) as second:
        await first.segment(photos.png(photos.street(8, 8)))
        assert first.metric("segserve_admitted_total", model="fake@2", priority="normal") == 1
        assert second.metric("segserve_admitted_total", model="fake@2", priority="normal") == 0
