import asyncio
import io
import threading

import numpy as np
import pytest
from PIL import Image

from loadtests.device import ALONE_SECONDS, CEILING, batch_seconds
from loadtests.fake_device import BATCH_PIXELS, MODEL, FakeBackend, FakeDevice
from loadtests.photos import small_photo
from service.backends.base import BatchKey, Photo
from tests.service.gateway import PATIENCE, gateway


def test_a_batch_takes_10_ms_and_4_for_each_photo() -> None:
    assert batch_seconds(1) == ALONE_SECONDS == pytest.approx(0.014)
    assert batch_seconds(8) == pytest.approx(0.042)
    assert pytest.approx(190.476, abs=0.001) == CEILING


async def test_more_than_a_batch_is_refused_and_a_single_large_photo_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("loadtests.device.time.sleep", slept.append)
    device, small, large = FakeDevice(), np.zeros((192, 256, 3), np.uint8), np.zeros((768, 1024, 3), np.uint8)
    with pytest.raises(ValueError, match="more than a batch"):
        await device.run(key_of(small), [small] * 9)
    await device.run(key_of(small), [small] * 8)
    await device.run(key_of(large), [large])
    device.close()
    assert slept == pytest.approx([0.042, 0.074])


def key_of(photo: Photo) -> BatchKey:
    return FakeBackend().batch_key(MODEL, *photo.shape[:2], long_side=None, confidence=False)


async def test_the_service_fills_its_batches_and_labels_every_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    photo, all_wait = small_photo(), threading.Event()
    async with gateway(FakeBackend(), batch_pixels=BATCH_PIXELS) as served:
        monkeypatch.setattr("loadtests.device.time.sleep", lambda _: all_wait.wait(PATIENCE))
        asked = [asyncio.create_task(served.segment(photo.body, output="labels")) for _ in range(24)]
        await served.until("segserve_queue_photos", 23)
        all_wait.set()
        answers = await asyncio.gather(*asked)
        # A batch of more than eight would have failed.
        assert {answer.status_code for answer in answers} == {200}
        assert served.metric("segserve_batch_photos_sum", model="fake@1") == 24
        # The first photo went alone.
        assert served.metric("segserve_batch_photos_count", model="fake@1") == 1 + 3
    labels = np.asarray(Image.open(io.BytesIO(answers[0].content)))
    assert labels.shape == (photo.height, photo.width)
    assert not labels.any()
