"""The real engine behind HTTP, with random weights: answers are those of the engine itself, each to its own photo."""

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from images import decode, decode_label_map
from models.engine import compiled_network
from models.engine.compiled_network import CompiledNetwork
from models.engine.engine import Engine
from models.engine.loading import find, load_engine, load_network
from models.weights import library
from models.weights.checkpoint import save
from service.app import make_backend
from service.backends.local import LocalBackend
from service.settings import Settings
from tests import photos
from tests.service.gateway import PATIENCE, Gateway, gateway

# Compiling has the lowest priority: beside other work it takes minutes.
COMPILED_SECONDS = 12 * 60
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(autouse=True)
def _nothing_ships(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever ships need not be loaded here."""
    monkeypatch.setattr(library, "SHIPPED", tmp_path)


@pytest.fixture
async def served(checkpoint_dir: Path) -> AsyncIterator[Gateway]:
    backend = LocalBackend(checkpoint_dir, wait=True)
    async with gateway(backend, model="tiny", timeout_ms=60_000) as running:
        yield running


@pytest.fixture(scope="module")
def engine(checkpoint_dir: Path) -> Engine:
    return load_engine(find("tiny", checkpoint_dir))


def labels(answer: httpx.Response) -> NDArray[np.uint8]:
    assert answer.status_code == 200, answer.text
    return decode_label_map(answer.content)


async def test_the_models_are_those_of_the_folder(served: Gateway, checkpoint_dir: Path) -> None:
    (model,) = (await served.client.get("/models")).json()
    assert (model["name"], model["default"]) == ("tiny", True)
    (version,) = model["versions"]
    assert version["sha256"] == find("tiny", checkpoint_dir).sha256
    assert (version["licence"], version["scores"]) == ("Free for tests", {"val_miou": 0.01})
    assert (version["input_size"], version["long_side"], version["engine"]) == ([120, 160], 160, "compiled")


@pytest.mark.parametrize("long_side", [None, 64])
async def test_labels_are_the_engines(served: Gateway, engine: Engine, long_side: int | None) -> None:
    photo = photos.oriented(photos.street(90, 130), 8, "JPEG")
    query: dict[str, Any] = {"long_side": long_side} if long_side else {}
    answer = await served.segment(photo, "image/png", **query)
    (expected,) = engine.run([decode(photo, max_pixels=10**6)], long_side=long_side)
    assert len(np.unique(expected.labels)) > 1
    assert np.array_equal(labels(answer), expected.labels)


async def test_confidence_comes_from_the_engine(served: Gateway, engine: Engine) -> None:
    street = photos.street(90, 130)
    answer = (await served.segment(photos.png(street), confidence="true")).json()
    (expected,) = engine.run([street], confidence=True)
    assert expected.confidence is not None
    largest = answer["classes"][0]
    assert largest["pixels"] == expected.pixels[largest["id"]]
    mean = expected.confidence[expected.labels == largest["id"]].mean() / 255
    assert largest["confidence"] == pytest.approx(mean, abs=1e-3)


async def test_mixed_sizes_at_once_each_get_their_own_answer(served: Gateway, engine: Engine) -> None:
    sizes = [(60, 80), (64, 90), (90, 60), (33, 33), (60, 80), (200, 300), (60, 81), (1, 50)]
    streets = [photos.street(height, width, seed) for seed, (height, width) in enumerate(sizes)]
    answers = await asyncio.gather(*(served.segment(photos.png(street), "image/png") for street in streets))
    for street, answer in zip(streets, answers, strict=True):
        (expected,) = engine.run([street])
        found = labels(answer)
        assert found.shape == street.shape[:2]
        # Sums in another order may flip a tie; another photo's labels differ nearly everywhere.
        assert (found == expected.labels).mean() > 0.99


async def test_the_first_time_it_answers_at_once_and_is_compiled_later(checkpoint_dir: Path, tmp_path: Path) -> None:
    photo = photos.png(photos.street(90, 130))

    async def kind(running: Gateway) -> str:
        (model,) = (await running.client.get("/models")).json()
        info = re.search(r'segserve_model_info\{.*engine="(\w+)".*\} 1\.0', (await running.client.get("/metrics")).text)
        assert info is not None
        assert info[1] == model["versions"][0]["engine"]
        return info[1]

    async with gateway(LocalBackend(checkpoint_dir, cache_dir=tmp_path), model="tiny", timeout_ms=60_000) as running:
        assert await kind(running) == "eager"
        before = labels(await running.segment(photo, "image/png"))
        async with asyncio.timeout(COMPILED_SECONDS):
            while await kind(running) == "eager":  # noqa: ASYNC110 (it notifies nobody)
                await asyncio.sleep(0.1)
        after = labels(await running.segment(photo, "image/png"))
        # Random weights leave many near ties.
        assert (before == after).mean() > 0.95
    async with gateway(LocalBackend(checkpoint_dir, cache_dir=tmp_path), model="tiny", timeout_ms=60_000) as running:
        assert await kind(running) == "compiled"
        assert np.array_equal(labels(await running.segment(photo, "image/png")), after)


async def test_with_engine_wait_it_is_ready_once_every_network_is_compiled(
    checkpoint_dir: Path, tmp_path: Path
) -> None:
    settings = Settings(model="tiny", model_dir=checkpoint_dir, cache_dir=tmp_path, engine_wait=True)
    async with gateway(make_backend(settings), model="tiny", ready=False) as running:
        assert (await running.client.get("/readyz")).status_code == 503
        async with asyncio.timeout(COMPILED_SECONDS):
            while (await running.client.get("/readyz")).status_code == 503:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        (model,) = (await running.client.get("/models")).json()
        assert model["versions"][0]["engine"] == "compiled"


@pytest.mark.parametrize("preferred", ["tiny", "tiny@1"])
async def test_the_preferred_model_is_compiled_first(
    preferred: str, checkpoint_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny = find("tiny", checkpoint_dir)
    save(load_network(tiny), tiny.card.model_copy(update={"name": "another"}), tmp_path / "another@1.safetensors")
    shutil.copy(tiny.path, tmp_path)
    caplog.set_level("INFO")
    backend = LocalBackend(tmp_path, preferred=preferred, cache_dir=tmp_path / "cache")
    async with gateway(backend, model="tiny"):
        assert {model.name: model.engine for model in backend.models} == {"another": "eager", "tiny": "eager"}
        async with asyncio.timeout(COMPILED_SECONDS):
            while "runs on the compiled engine" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert {model.name: model.engine for model in backend.models} == {"another": "eager", "tiny": "compiled"}


async def test_what_cannot_be_compiled_stays_eager_and_says_so(
    checkpoint_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("no folder")
    backend = LocalBackend(checkpoint_dir, cache_dir=tmp_path / "cache")
    async with gateway(backend, model="tiny", timeout_ms=60_000) as running:
        async with asyncio.timeout(COMPILED_SECONDS):
            while "tiny@1 stays on the eager engine, as it cannot be compiled: " not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert (await running.segment(photos.png(photos.street(90, 130)))).status_code == 200
        assert [model.engine for model in backend.models] == ["eager"]


async def test_what_is_compiled_and_does_not_load_stays_eager_and_nothing_else_is_said(
    checkpoint_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise RuntimeError("no such CPU")

    # In this process alone: the one that compiles beside it succeeds.
    monkeypatch.setattr(compiled_network, "CompiledNetwork", refused)
    caplog.set_level("INFO")
    backend = LocalBackend(checkpoint_dir, cache_dir=tmp_path)
    async with gateway(backend, model="tiny", timeout_ms=60_000):
        async with asyncio.timeout(COMPILED_SECONDS):
            while "as it cannot be compiled: no such CPU" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert [model.engine for model in backend.models] == ["eager"]
    assert "runs on the compiled engine" not in caplog.text


@pytest.fixture
def _three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_three_threads")
async def test_a_network_that_is_compiled_later_may_use_all_cores(
    checkpoint_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    class Noted(CompiledNetwork):
        def __init__(self, graph: Path, **options: Any) -> None:
            super().__init__(graph, **options)
            threads.append(options["threads"])

    monkeypatch.setattr(compiled_network, "CompiledNetwork", Noted)
    backend = LocalBackend(checkpoint_dir, cache_dir=tmp_path)
    async with gateway(backend, model="tiny", timeout_ms=60_000) as running:
        # Each engine's thread has its own limit by then.
        await asyncio.gather(*(running.segment(photos.png(photos.street(90, 130))) for _ in range(6)))
        async with asyncio.timeout(COMPILED_SECONDS):
            while backend.models[0].engine == "eager":  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    assert threads == [3, 3, 3]


LOST_GPU = """
import asyncio, sys
import numpy as np
import torch
from pathlib import Path
from models.engine.engine import Engine
from service.backends.local import LocalBackend

async def main():
    backend = LocalBackend(Path(sys.argv[1]))
    await backend.start(lambda: None)
    def run(*_, **__):
        raise torch.AcceleratorError("an illegal memory access")
    Engine.run = run
    model = backend.models[0]
    key = backend.batch_key(model, 32, 64, long_side=None, confidence=False)
    await backend.devices[0].run(key, [np.zeros((32, 64, 3), np.uint8)])

asyncio.run(main())
"""


def test_a_gpu_that_is_lost_ends_the_process(checkpoint_dir: Path) -> None:
    """Ready, and with a 500 for everybody, it would never be started anew."""
    command = [sys.executable, "-c", LOST_GPU, str(checkpoint_dir)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 1
    assert "the GPU is lost, and the service ends" in ended.stderr
