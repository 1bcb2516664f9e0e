"""A gateway in front of a real TorchServe: what comes back is what the engine makes in its own process."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch

from images import decode, decode_label_map
from models.engine.engine import Engine
from models.engine.loading import find, load_engine, load_network
from models.weights.checkpoint import save
from models.zoo.registry import build
from tests import photos
from tests.service.backends.torchserve.conftest import StartGateway
from tests.service.gateway import PATIENCE, Gateway
from tests.service.problems import problem_of
from tests.worker.process import WorkerProcess


@pytest.fixture(scope="module")
def engine(checkpoint_dir: Path) -> Iterator[Engine]:
    # A worker of the tests runs on one thread, and the order of sums depends on their number.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield load_engine(find("tiny", checkpoint_dir))
    torch.set_num_threads(threads)


def odd_photos(count: int) -> list[bytes]:
    """Of odd sizes, narrow and wide, larger and smaller than the network's, some of them turned."""
    draw = np.random.default_rng(6)
    sizes = [(1, 1), (1, 301), (299, 1), (161, 3), *(tuple(draw.integers(1, 331, 2)) for _ in range(count - 4))]
    streets = [photos.street(int(height), int(width), seed) for seed, (height, width) in enumerate(sizes)]
    return [
        photos.oriented(street, 1 + number % 8, "JPEG") if number % 2 else photos.png(street)
        for number, street in enumerate(streets)
    ]


async def test_label_maps_are_bit_identical_to_the_embedded_engines(served: Gateway, engine: Engine) -> None:
    classes: set[int] = set()
    for number, photo in enumerate(odd_photos(50)):
        answer = await served.segment(photo, "image/png")
        assert answer.status_code == 200, answer.text
        [expected] = engine.run([decode(photo, max_pixels=10**6)])
        found = decode_label_map(answer.content)
        assert np.array_equal(found, expected.labels), f"photo {number}"
        classes |= set(np.unique(found))
    assert len(classes) > 3


async def test_batched_label_maps_agree_in_999_of_1000_pixels(gateway_of: StartGateway, engine: Engine) -> None:
    bodies = odd_photos(60)
    async with gateway_of() as served:
        answers = await asyncio.gather(*(served.segment(body, "image/png") for body in bodies))
        photos_a_batch = served.metric("segserve_batch_photos_sum", model="tiny@1") / served.metric(
            "segserve_batch_photos_count", model="tiny@1"
        )
    equal = total = 0
    for body, answer in zip(bodies, answers, strict=True):
        [expected] = engine.run([decode(body, max_pixels=10**6)])
        equal += int((decode_label_map(answer.content) == expected.labels).sum())
        total += expected.labels.size
    assert photos_a_batch > 1.5
    assert equal / total >= 0.999


async def test_confidence_counts_and_overlay_come_along(served: Gateway, engine: Engine) -> None:
    street = photos.street(90, 130)
    answer = (await served.segment(photos.png(street), confidence="true", overlay="true")).json()
    [expected] = engine.run([street], confidence=True)
    assert expected.confidence is not None
    assert {c["id"]: c["pixels"] for c in answer["classes"]} == {
        i: count for i, count in enumerate(expected.pixels) if count
    }
    largest = answer["classes"][0]
    mean = expected.confidence[expected.labels == largest["id"]].mean() / 255
    assert largest["confidence"] == pytest.approx(mean, abs=1e-4)
    assert answer["overlay"]["media_type"] == "image/jpeg"


async def test_damage_that_only_decoding_finds_is_the_callers_fault(served: Gateway) -> None:
    good, damaged = await asyncio.gather(
        served.segment(photos.png(photos.street(60, 80))), served.segment(photos.corrupt_middle_jpeg())
    )
    assert good.status_code == 200
    problem_of(damaged, 400, "damaged-image")


async def test_a_photo_of_many_megabytes_passes_torchserves_caps(served: Gateway) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2000, 2600, 3), np.uint8)
    photo = photos.png(noise, compress_level=0)
    assert len(photo) > 2 * 6_553_500
    answer = await served.segment(photo, confidence="true")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["width"], answer.json()["height"]) == (2600, 2000)


async def test_ids_pass_into_the_handlers_lines_which_are_one_a_request(served: Gateway, worker: WorkerProcess) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = {"X-Request-Id": "the-one", "traceparent": trace}
    body = photos.png(photos.street(40, 50))
    assert (await served.client.post("/segment", content=body, headers=headers)).status_code == 200

    def lines() -> list[str]:
        return [line for line in worker.log.read_text().splitlines() if "the-one" in line]

    await asyncio.to_thread(worker.wait_until, lambda: bool(lines()))
    [line] = [json.loads(line) for line in lines()]
    assert (line["traceparent"], line["model"], line["message"]) == (trace, "tiny@1", "labelled")


async def test_every_line_of_the_worker_is_json(worker: WorkerProcess) -> None:
    for line in worker.log.read_text().splitlines():
        assert {"time", "level", "logger", "message"} <= json.loads(line).keys()


async def test_the_workers_health_and_torchserves_metrics_are_shown(served: Gateway, worker: WorkerProcess) -> None:
    await served.segment(photos.png(photos.street(40, 50)))
    labels = {"worker": worker.url}
    assert served.metric("segserve_worker_in_service", **labels) == 1
    assert served.metric("segserve_worker_processes", model="tiny@1", **labels) == 1

    async def shown() -> str:
        return (await served.client.get("/metrics")).text

    async with asyncio.timeout(10):
        while "ts_inference_requests_total{" not in await shown():  # noqa: ASYNC110 (scraped once a second)
            await asyncio.sleep(0.1)
    assert f'worker="{worker.url}"' in (await shown()).split("ts_inference_requests_total{")[1].splitlines()[0]


def test_but_for_two_ports_a_worker_listens_on_loopback_alone(worker: WorkerProcess) -> None:
    worker.wait_until(worker.ready)
    listening = worker.listening()
    private = {port for address, port in listening if address in ("127.0.0.1", "::1")}
    assert {port for _, port in listening} - private == {worker.port, worker.status.inference_port}

    def manages(port: int) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/models", timeout=PATIENCE, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    assert sum(map(manages, private)) == 1


async def test_what_engine_the_workers_run_is_known_before_the_first_photo(gateway_of: StartGateway) -> None:
    async with gateway_of() as served:
        metrics = (await served.client.get("/metrics")).text
    [model] = [line for line in metrics.splitlines() if line.startswith("segserve_model_info{")]
    assert 'engine="compiled"' in model


async def test_models_and_versions_come_and_go_without_a_restart(
    gateway_of: StartGateway, worker: WorkerProcess, checkpoint_dir: Path
) -> None:
    java = worker.java().pid
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = build("eseg-lite-s", 11)
    newer = worker.model_dir / "tiny@2.safetensors"
    save(network, find("tiny", checkpoint_dir).card.model_copy(update={"version": 2}), newer)
    body = photos.png(photos.street(90, 130))
    try:
        async with gateway_of() as served:
            # In a thread: a gateway whose loop stands still takes its worker for one that is away.
            await asyncio.to_thread(
                worker.wait_until, lambda: [m.state for m in worker.status.models] == ["ready", "ready"]
            )
            async with asyncio.timeout(PATIENCE):
                while "tiny@2" not in (await served.segment(body)).headers.get("X-Model", ""):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            one = await served.segment(body, "image/png", model="tiny@1")
            two = await served.segment(body, "image/png", model="tiny@2")
            assert (one.headers["X-Model"], two.headers["X-Model"]) == ("tiny@1", "tiny@2")
            assert (decode_label_map(one.content) != decode_label_map(two.content)).mean() > 0.1
            [model] = (await served.client.get("/models")).json()
            assert [version["version"] for version in model["versions"]] == ["1", "2"]

            newer.unlink()
            statuses = set()
            async with asyncio.timeout(PATIENCE):
                while (answer := await served.segment(body, model="tiny@2")).status_code != 404:
                    statuses.add(answer.status_code)
            assert statuses <= {200}
            assert (await served.segment(body)).headers["X-Model"] == "tiny@1"
    finally:
        newer.unlink(missing_ok=True)
    worker.wait_until(lambda: [m.version for m in worker.status.models] == [1])
    assert (worker.java().pid, worker.status.restarts) == (java, 0)


async def test_a_model_that_labels_nothing_is_never_published_and_leaves_nothing(
    gateway_of: StartGateway, worker: WorkerProcess, checkpoint_dir: Path
) -> None:
    checkpoint = find("tiny", checkpoint_dir)
    broken = worker.model_dir / "tiny@9.safetensors"
    save(load_network(checkpoint), checkpoint.card.model_copy(update={"version": 9}), broken)
    try:
        worker.wait_until(lambda: [m.state for m in worker.status.models] == ["ready", "failed"])
        assert worker.status.models[1].detail
        worker.wait_until(lambda: worker.python_processes() == 1)
        async with gateway_of() as served:
            [model] = (await served.client.get("/models")).json()
            assert [version["version"] for version in model["versions"]] == ["1"]
            assert (await served.segment(photos.png(photos.street(90, 130)))).headers["X-Model"] == "tiny@1"
    finally:
        broken.unlink()
    worker.wait_until(lambda: [m.version for m in worker.status.models] == [1])


async def test_several_gateways_share_a_worker(gateway_of: StartGateway) -> None:
    body = photos.png(photos.street(90, 130))
    async with gateway_of() as first, gateway_of() as second, gateway_of() as third:
        answers = await asyncio.gather(*(g.segment(body) for g in (first, second, third) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
