import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import photos
from tests.service.fakes import FakeBackend
from tests.service.gateway import Gateway, gateway
from tests.service.problems import problem_of


async def samples(served: Gateway) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """What /metrics says: values by labels by name."""
    response = await served.client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def labels(**given: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(given.items()))


async def test_alive_and_ready(served: Gateway) -> None:
    for path, status in (("/livez", "alive"), ("/readyz", "ready")):
        response = await served.client.get(path)
        assert (response.status_code, response.json()) == (200, {"status": status})


async def test_before_the_models_are_warm(backend: FakeBackend) -> None:
    backend.loaded.clear()
    async with gateway(backend, ready=False) as served:
        assert (await served.client.get("/livez")).status_code == 200
        assert (await samples(served))["segserve_ready"] == {(): 0.0}
        ready = problem_of(await served.client.get("/readyz"), 503, "not-ready")
        assert "loading" in ready["detail"]
        problem_of(await served.segment(photos.png(photos.street(8, 8))), 503, "not-ready")
        assert (await served.client.get("/models")).status_code == 200
        backend.loaded.set()
        await served.until("segserve_ready", 1)
        assert (await served.client.get("/readyz")).status_code == 200
        assert (await served.segment(photos.png(photos.street(8, 8)))).status_code == 200


async def test_ready_means_warm(backend: FakeBackend) -> None:
    backend.device.gate.clear()
    async with gateway(backend, ready=False) as served:
        assert (await served.client.get("/readyz")).status_code == 503
        backend.device.gate.set()
        await served.until("segserve_ready", 1)
    assert {key.model for key, _ in backend.device.batches} == {"fake@1", "fake@2"}


async def test_metrics(served: Gateway) -> None:
    await served.segment(photos.png(photos.street(8, 8)))
    await served.segment(b"text")
    found = await samples(served)
    segment = {"route": "/segment", "model": "fake@2"}
    assert found["segserve_requests_total"][labels(**segment, status="200")] == 1
    assert found["segserve_requests_total"][labels(**segment, status="400")] == 1
    assert found["segserve_request_seconds_count"][labels(**segment)] == 2
    for stage in ("decode", "queue", "infer", "encode"):
        assert found["segserve_stage_seconds_count"][labels(stage=stage, model="fake@2")] == 1
    assert found["segserve_admitted_total"][labels(model="fake@2", priority="normal")] == 1
    assert found["segserve_batch_photos_sum"][labels(model="fake@2")] == 1
    assert 0 < found["segserve_batch_fill_ratio_sum"][labels(model="fake@2")] < 1
    assert found["segserve_device_seconds_count"][labels(kind="fake", model="fake@2")] == 1
    assert found["segserve_latency_prediction_ratio_count"][labels(model="fake@2")] == 1
    assert found["segserve_latency_prediction_ratio_sum"][labels(model="fake@2")] > 0
    assert found["segserve_capacity_pixels_per_second"][labels(model="fake@2")] > 0
    assert found["segserve_demand_pixels_total"][labels(model="fake@2", outcome="admitted")] == 32 * 32
    assert found["segserve_queue_photos"] == found["segserve_queue_pixels"] == {(): 0}
    assert found["segserve_memory_reserved_bytes"] == {(): 0}
    assert found["segserve_requests_in_flight"] == {(): 1}, "the request for these metrics"
    info = {"label_set": "camvid11", "engine": "eager", "licence": "Free for tests"}
    assert found["segserve_model_info"] == {
        labels(model=f"fake@{version}", sha256=f"{version:064x}", **info): 1 for version in (1, 2)
    }
    assert found["process_resident_memory_bytes"][()] > 0


async def test_what_alerts_and_scaling_look_at_is_zero_before_the_first_photo_of_a_model(served: Gateway) -> None:
    found = await samples(served)
    for model in ("fake@1", "fake@2"):
        for status in ("200", "500", "503", "504"):
            assert found["segserve_requests_total"][labels(route="/segment", model=model, status=status)] == 0
        for outcome in ("admitted", "refused"):
            assert found["segserve_demand_pixels_total"][labels(model=model, outcome=outcome)] == 0
        for priority in ("interactive", "normal", "batch"):
            assert found["segserve_admitted_total"][labels(model=model, priority=priority)] == 0
            assert found["segserve_answer_seconds_count"][labels(model=model, priority=priority)] == 0
        assert found["segserve_stage_seconds_count"][labels(stage="queue", model=model)] == 0
        assert found["segserve_latency_prediction_ratio_count"][labels(model=model)] == 0
    # Whoever wakes a service that scales to zero.
    for route in ("/segment", "/models/{name}"):
        assert found["segserve_requests_total"][labels(route=route, model="", status="503")] == 0
    for name, reasons in (("refused", ("deadline", "memory")), ("dropped", ("cancelled", "expired", "failed"))):
        assert found[f"segserve_{name}_total"] == {labels(reason=reason): 0 for reason in reasons}


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_nothing_but_get(served: Gateway, path: str) -> None:
    response = await served.client.post(path)
    problem_of(response, 405, None)
    assert response.headers["allow"] == "GET"
