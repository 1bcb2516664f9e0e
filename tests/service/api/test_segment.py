"""POST /segment, line by line."""

import asyncio
import base64
import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from images import blend, decode
from models.labelsets import load
from tests import photos
from tests.service.fakes import FakeBackend, FakeDevice, brightness_labels
from tests.service.gateway import Gateway, gateway
from tests.service.problems import problem_of

STREET = photos.street(48, 80)
PHOTO = photos.png(STREET)
LABELS = brightness_labels(STREET)
PALETTE = load("camvid11").palette


def label_map(data: bytes) -> NDArray[np.uint8]:
    """Of an indexed PNG with the colours of the classes."""
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.mode) == ("PNG", "P")
        assert bytes(image.getpalette() or [])[: 11 * 3] == PALETTE[: 11 * 3]
        return np.asarray(image)


def picture(part: dict[str, str], media_type: str) -> bytes:
    assert part["media_type"] == media_type
    return base64.b64decode(part["data"], validate=True)


@pytest.mark.parametrize(("query", "accept"), [({"output": "labels"}, ""), ({}, "image/png")])
async def test_labels(served: Gateway, query: dict[str, Any], accept: str) -> None:
    response = await served.segment(PHOTO, accept, **query)
    assert (response.status_code, response.headers["content-type"]) == (200, "image/png")
    assert np.array_equal(label_map(response.content), LABELS)


@pytest.mark.parametrize("accept", ["", "*/*", "application/json", "text/html,*/*;q=0.8"])
async def test_json(served: Gateway, accept: str) -> None:
    response = await served.segment(PHOTO, accept)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    answer = response.json()
    assert answer.keys() == {
        *("model", "model_version", "label_set", "width", "height"),
        *("classes", "label_map", "overlay", "timing_ms"),
    }
    assert (answer["model"], answer["model_version"], answer["label_set"]) == ("fake", "2", "camvid11")
    assert (answer["width"], answer["height"]) == (80, 48)
    assert np.array_equal(label_map(picture(answer["label_map"], "image/png")), LABELS)
    assert answer["overlay"] is None
    assert answer["timing_ms"].keys() == {"decode", "queue", "infer", "encode"}
    assert all(value >= 0 for value in answer["timing_ms"].values())


async def test_json_lists_the_classes_that_are_there_largest_first(served: Gateway) -> None:
    dark_and_bright = np.zeros((10, 10, 3), np.uint8)
    dark_and_bright[:7] = 255
    answer = (await served.segment(photos.png(dark_and_bright))).json()
    label_set = load("camvid11")
    assert answer["classes"] == [
        {
            "id": i,
            "name": label_set.classes[i].name,
            "color": list(label_set.classes[i].color),
            "pixels": pixels,
            "fraction": pixels / 100,
        }
        for i, pixels in ((10, 70), (0, 30))
    ]


async def test_json_with_confidence(served: Gateway) -> None:
    answer = (await served.segment(PHOTO, confidence="true")).json()
    with Image.open(io.BytesIO(picture(answer["confidence"], "image/png"))) as image:
        assert image.mode == "L"
        assert np.array_equal(np.asarray(image), STREET[..., 0])
    for entry in answer["classes"]:
        mean = STREET[..., 0][entry["id"] == LABELS].mean() / 255
        assert entry["confidence"] == pytest.approx(mean, abs=1e-4)


@pytest.mark.parametrize(("accept", "media_type"), [("", "image/jpeg"), ("application/json, image/webp", "image/webp")])
async def test_json_with_overlay(served: Gateway, accept: str, media_type: str) -> None:
    answer = (await served.segment(PHOTO, accept, overlay="true", output="json")).json()
    with Image.open(io.BytesIO(picture(answer["overlay"], media_type))) as image:
        assert image.size == (80, 48)


@pytest.mark.parametrize(
    ("query", "accept", "media_type"),
    [
        ({"output": "overlay"}, "", "image/jpeg"),
        ({"output": "overlay"}, "application/json", "image/jpeg"),
        ({"output": "overlay"}, "image/webp", "image/webp"),
        ({"output": "overlay"}, "image/png", "image/png"),
        ({}, "image/jpeg", "image/jpeg"),
        ({}, "image/webp", "image/webp"),
        ({}, "image/webp;q=0.5,image/jpeg", "image/jpeg"),
        ({}, "image/avif,image/webp", "image/webp"),
    ],
)
async def test_overlay(served: Gateway, query: dict[str, Any], accept: str, media_type: str) -> None:
    response = await served.segment(PHOTO, accept, **query)
    assert (response.status_code, response.headers["content-type"]) == (200, media_type)
    with Image.open(io.BytesIO(response.content)) as image:
        assert image.get_format_mimetype() == media_type
        assert image.size == (80, 48)


@pytest.mark.parametrize(
    ("query", "alpha"), [({}, 0.5), ({"alpha": 0}, 0.0), ({"alpha": 1}, 1.0), ({"alpha": 0.3}, 0.3)]
)
async def test_alpha_is_the_strength_of_the_colours(served: Gateway, query: dict[str, Any], alpha: float) -> None:
    response = await served.segment(PHOTO, "image/png", output="overlay", **query)
    with Image.open(io.BytesIO(response.content)) as image:
        assert np.array_equal(np.asarray(image), blend(STREET, LABELS, PALETTE, alpha))


@pytest.mark.parametrize(
    "content_type", [None, "image/jpeg", "image/png", "application/octet-stream", "text/plain", "?"]
)
async def test_the_content_type_of_a_raw_body_does_not_matter(served: Gateway, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    response = await served.client.post("/segment?output=labels", content=PHOTO, headers=headers)
    assert np.array_equal(label_map(response.content), LABELS)


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_answers_in_display_orientation(served: Gateway, orientation: int) -> None:
    photo = photos.oriented(STREET, orientation, "PNG")
    answer = (await served.segment(photo)).json()
    assert (answer["width"], answer["height"]) == (80, 48)
    assert np.array_equal(label_map(picture(answer["label_map"], "image/png")), LABELS)


async def test_a_turned_photo_is_batched_as_it_is_shown(served: Gateway, device: FakeDevice) -> None:
    await served.segment(photos.oriented(STREET, 6, "JPEG"))
    key, _ = device.batches[-1]
    assert (key.height, key.width) == (64, 96)


@pytest.mark.parametrize(("query", "model"), [("fake", "fake@2"), ("fake@1", "fake@1"), ("fake@2", "fake@2")])
async def test_the_query_names_the_model(served: Gateway, device: FakeDevice, query: str, model: str) -> None:
    response = await served.segment(PHOTO, model=query)
    assert f"{response.json()['model']}@{response.json()['model_version']}" == model
    assert response.headers["x-model"] == model
    assert device.batches[-1][0].model == model


async def test_the_settings_name_the_default_model(backend: FakeBackend) -> None:
    async with gateway(backend, model="fake@1") as served:
        assert (await served.segment(PHOTO)).headers["x-model"] == "fake@1"


async def test_several_accept_headers_are_one(served: Gateway) -> None:
    headers = [("Accept", "application/json;q=0.5"), ("Accept", "image/webp;q=0.8"), ("Accept", "image/png;q=0.7")]
    response = await served.client.post("/segment", content=PHOTO, headers=headers)
    assert response.headers["content-type"] == "image/webp"


@pytest.mark.parametrize("output", ["labels", "overlay"])
async def test_confidence_that_no_answer_would_carry_is_not_computed(
    served: Gateway, device: FakeDevice, output: str
) -> None:
    assert (await served.segment(PHOTO, output=output, confidence="true")).status_code == 200
    assert not device.batches[-1][0].confidence


async def test_long_side_scales_the_networks_input_and_not_the_answer(served: Gateway, device: FakeDevice) -> None:
    response = await served.segment(PHOTO, "image/png", long_side=32)
    assert (device.batches[-1][0].width, device.batches[-1][0].long_side) == (32, 32)
    assert label_map(response.content).shape == (48, 80)


@pytest.mark.parametrize("output", ["json", "labels", "overlay"])
async def test_every_answer_carries_its_headers(served: Gateway, output: str) -> None:
    response = await served.segment(PHOTO, output=output)
    assert len(response.headers["x-request-id"]) >= 8
    assert response.headers["x-model"] == "fake@2"
    assert response.headers["x-label-set"] == "camvid11"
    stages = [stage.split(";dur=") for stage in response.headers["server-timing"].split(", ")]
    assert [name for name, _ in stages] == ["decode", "queue", "infer", "encode"]
    assert all(float(milliseconds) >= 0 for _, milliseconds in stages)


async def test_server_timing_says_how_long_the_device_took(served: Gateway, device: FakeDevice) -> None:
    device.seconds = 0.08
    response = await served.segment(PHOTO)
    assert float(response.headers["server-timing"].split("infer;dur=")[1].split(",")[0]) >= 80


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"alpha": 7}, "alpha"),
        ({"alpha": -0.1}, "alpha"),
        ({"alpha": "nan"}, "alpha"),
        ({"alpha": "strong"}, "alpha"),
        ({"output": "svg"}, "output"),
        ({"long_side": 0}, "long_side"),
        ({"long_side": 4097}, "long_side"),
        ({"long_side": "1e3"}, "long_side"),
        ({"timeout_ms": 0}, "timeout_ms"),
        ({"timeout_ms": "soon"}, "timeout_ms"),
        ({"overlay": "maybe"}, "overlay"),
        ({"confidence": 2}, "confidence"),
        ({"aplha": 0.5}, "aplha"),
    ],
)
async def test_a_bad_parameter_is_named(
    served: Gateway, device: FakeDevice, query: dict[str, Any], parameter: str
) -> None:
    before = len(device.batches)
    problem = problem_of(await served.segment(PHOTO, **query), 422, "bad-parameter")
    assert parameter in problem["detail"]
    assert len(device.batches) == before


@pytest.mark.parametrize("priority", ["interactive", "normal", "batch"])
async def test_the_header_names_the_priority(served: Gateway, priority: str) -> None:
    assert (await served.segment(PHOTO, priority=priority)).status_code == 200
    assert served.metric("segserve_admitted_total", model="fake@2", priority=priority) == 1


async def test_the_priority_is_normal_if_nothing_is_said(served: Gateway) -> None:
    assert (await served.client.post("/segment", content=PHOTO)).status_code == 200
    assert served.metric("segserve_admitted_total", model="fake@2", priority="normal") == 1


@pytest.mark.parametrize("priority", ["urgent", "", "Interactive", "0", "batch,normal"])
async def test_another_priority_is_a_bad_parameter(served: Gateway, device: FakeDevice, priority: str) -> None:
    before = len(device.batches)
    problem = problem_of(await served.segment(PHOTO, priority=priority), 422, "bad-parameter")
    assert "x-priority" in problem["detail"]
    assert "'interactive', 'normal' or 'batch'" in problem["detail"]
    assert len(device.batches) == before


async def test_while_batch_saturates_the_device_an_interactive_photo_waits_for_one_batch(backend: FakeBackend) -> None:
    device, interactive = backend.device, np.full((48, 80, 3), 77, np.uint8)
    async with gateway(backend, batch_pixels=4 * 64 * 96, timeout_ms=60_000) as served:
        warm = len(device.batches)
        device.gate.clear()
        waiting = [asyncio.create_task(served.segment(PHOTO, priority="batch")) for _ in range(21)]
        await served.until("segserve_queue_photos", 20)
        for _ in range(2):
            waiting.append(asyncio.create_task(served.segment(photos.png(interactive), priority="interactive")))
        await served.until("segserve_queue_photos", 22)
        device.gate.set()
        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
    order = [[bool((photo == 77).all()) for photo in batch] for _, batch in device.batches[warm:]]
    # The first of batch ran already; then come all interactive ones, and batch fills their batch to three quarters.
    assert order[:2] == [[False], [True, True, False]]
    assert not any(map(any, order[2:]))


@pytest.mark.parametrize("name", ["other", "fake@3", "fake@", "@1", "fake@1@1", "FAKE", "../fake", "\0\n"])
async def test_an_unknown_model(served: Gateway, name: str) -> None:
    problem = problem_of(await served.segment(PHOTO, model=name), 404, "unknown-model")
    assert "fake@1, fake@2" in problem["detail"]


async def test_a_photo_too_long_for_the_overlays_format_is_not_labelled(served: Gateway, device: FakeDevice) -> None:
    line, before = photos.png(np.zeros((1, 16_384, 3), np.uint8)), len(device.batches)
    problem = problem_of(await served.segment(line, "image/webp"), 413, "too-many-pixels")
    assert "image/png" in problem["detail"]
    assert len(device.batches) == before
    assert (await served.segment(line, "image/png", output="overlay")).status_code == 200


async def test_concurrent_photos_get_their_own_answers(served: Gateway, device: FakeDevice) -> None:
    device.batches.clear()
    device.gate.clear()
    streets = [photos.street(20 + 13 * (i % 5), 40 + 17 * (i % 3), seed=i) for i in range(30)]
    asked = [asyncio.create_task(served.segment(photos.png(street), "image/png")) for street in streets]
    await served.until("segserve_queue_photos", 29)
    device.gate.set()
    answers = await asyncio.gather(*asked)
    for street, answer in zip(streets, answers, strict=True):
        assert np.array_equal(label_map(answer.content), brightness_labels(street))
    assert max(len(batch) for _, batch in device.batches) > 1


async def test_a_jpeg_is_labelled_as_it_decodes(served: Gateway) -> None:
    data = photos.jpeg(STREET)
    response = await served.segment(data, "image/png")
    assert np.array_equal(label_map(response.content), brightness_labels(decode(data, max_pixels=10**6)))
