import shutil
import sys
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from loadtests.loopback import HOST
from tests.worker.fake_nvml import FakeNvml, Gpu
from worker.app import create_app
from worker.gpu_metrics import GpuMetrics
from worker.settings import WorkerSettings
from worker.supervisor import Supervisor

TORCHSERVES_OWN = "# TYPE ts_inference_requests_total counter\nts_inference_requests_total 5.0\n"
ONE, OTHER = {"gpu": "0", "uuid": "GPU-one"}, {"gpu": "1", "uuid": "GPU-other"}


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml([Gpu("GPU-one"), Gpu("GPU-other", percent=100, used=3, celsius=81)])
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    made = Supervisor(WorkerSettings(slots=1))
    yield made
    shutil.rmtree(made.folder)


@pytest.fixture
async def torchserve(supervisor: Supervisor) -> AsyncIterator[None]:
    """Answers where the supervisor looks for TorchServe's metrics."""

    async def show(_: web.Request) -> web.Response:
        return web.Response(text=TORCHSERVES_OWN)

    app = web.Application()
    app.router.add_get("/metrics", show)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, HOST, supervisor.ports.metrics).start()
    yield
    await supervisor.management.close()
    await runner.cleanup()


def values(metrics: GpuMetrics) -> dict[str, dict[str, float]]:
    """Of what it shows, by uuid, without the names' beginning."""
    return {
        family.name.removeprefix("segserve_worker_gpu_"): {s.labels["uuid"]: s.value for s in family.samples}
        for family in metrics.collect()
    }


def test_each_gpu_is_measured(nvml: FakeNvml) -> None:
    metrics = GpuMetrics()
    assert values(metrics) == {
        "utilisation_ratio": {"GPU-one": 0.4, "GPU-other": 1.0},
        "memory_used_bytes": {"GPU-one": 2**30, "GPU-other": 3},
        "memory_total_bytes": {"GPU-one": 2**36, "GPU-other": 2**36},
        "temperature_celsius": {"GPU-one": 55, "GPU-other": 81},
    }
    nvml.gpus[0].percent = 7
    assert values(metrics)["utilisation_ratio"]["GPU-one"] == pytest.approx(0.07)


def test_what_a_gpu_does_not_tell_is_left_out(nvml: FakeNvml) -> None:
    nvml.gpus[0].percent = None
    metrics = GpuMetrics()
    assert values(metrics)["utilisation_ratio"] == {"GPU-other": 1.0}
    assert values(metrics)["temperature_celsius"] == {"GPU-one": 55, "GPU-other": 81}
    nvml.gpus[1].lost = True
    assert "utilisation_ratio" not in values(metrics)
    assert values(metrics)["temperature_celsius"] == {"GPU-one": 55}


def test_without_the_driver_there_are_none(nvml: FakeNvml) -> None:
    nvml.driver = False
    assert not values(GpuMetrics())


def test_without_the_package_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert not values(GpuMetrics())


@pytest.mark.usefixtures("torchserve")
async def test_a_worker_shows_them_after_torchserves_own(nvml: FakeNvml, supervisor: Supervisor) -> None:
    transport = httpx.ASGITransport(create_app(supervisor))
    async with httpx.AsyncClient(transport=transport, base_url="http://worker") as client:
        shown = (await client.get("/metrics")).text
        nvml.gpus.clear()
        without = (await client.get("/metrics")).text
    families = {family.name: family for family in text_string_to_metric_families(shown)}
    assert len(families) == 5
    assert [sample.labels for sample in families["segserve_worker_gpu_temperature_celsius"].samples] == [ONE, OTHER]
    assert without == TORCHSERVES_OWN
