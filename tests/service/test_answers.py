import json
from dataclasses import replace

import numpy as np
import pytest

from images import decode_label_map
from models.labelsets import load
from service.answers import AnswerFormat, encode_answer
from tests.photos import street
from tests.service.fakes import FakeSegmentation, fake_segmentation, model_info

PHOTO = street(20, 30)
JSON = AnswerFormat(output="json", overlay_type="image/jpeg", alpha=0.5)
CAMVID = load("camvid11")


@pytest.mark.parametrize(
    ("form", "media_type"),
    [
        (JSON, "application/json"),
        (replace(JSON, output="labels"), "image/png"),
        (replace(JSON, output="overlay"), "image/jpeg"),
        (replace(JSON, output="overlay", overlay_type="image/webp"), "image/webp"),
    ],
)
def test_the_media_type_follows_the_output(form: AnswerFormat, media_type: str) -> None:
    assert form.media_type == media_type


def test_answers_that_take_unlike_long_are_told_apart() -> None:
    forms = [
        JSON,
        replace(JSON, confidence=True),
        replace(JSON, overlay=True),
        replace(JSON, overlay=True, overlay_type="image/webp"),
        replace(JSON, output="labels"),
        replace(JSON, output="overlay"),
        replace(JSON, output="overlay", overlay_type="image/webp"),
    ]
    assert len({form.parts for form in forms}) == len(forms)
    assert replace(JSON, overlay_type="image/webp", alpha=0.1).parts == JSON.parts


def test_labels_are_a_file_that_reads_back() -> None:
    segmentation = fake_segmentation(PHOTO)
    data = encode_answer(replace(JSON, output="labels"), model_info(), CAMVID, PHOTO, segmentation, {})
    assert np.array_equal(decode_label_map(data), segmentation.labels)


def test_json_adds_its_own_time_to_that_of_the_stages() -> None:
    answer = json.loads(encode_answer(JSON, model_info(), CAMVID, PHOTO, fake_segmentation(PHOTO), {"infer": 0.0123}))
    assert answer["timing_ms"]["infer"] == 12.3
    assert answer["timing_ms"]["encode"] >= 0


def test_fractions_sum_to_one_and_pixels_to_the_photo() -> None:
    answer = json.loads(encode_answer(JSON, model_info(), CAMVID, PHOTO, fake_segmentation(PHOTO), {}))
    assert sum(entry["fraction"] for entry in answer["classes"]) == pytest.approx(1)
    pixels = [entry["pixels"] for entry in answer["classes"]]
    assert sum(pixels) == 600
    assert pixels == sorted(pixels, reverse=True)
    assert 0 not in pixels


def test_a_certain_network_has_confidence_one() -> None:
    labels = np.zeros((4, 4), np.uint8)
    certain = FakeSegmentation(labels, np.bincount(labels.ravel(), minlength=11), np.full((4, 4), 255, np.uint8))
    answer = json.loads(encode_answer(JSON, model_info(), CAMVID, PHOTO[:4, :4], certain, {}))
    assert [entry["confidence"] for entry in answer["classes"]] == [1.0]
