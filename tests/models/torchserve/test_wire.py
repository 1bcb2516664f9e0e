from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from models.torchserve.wire import (
    EncodedPhoto,
    Labelled,
    Request,
    Response,
    Unreadable,
    WireError,
    pack_request,
    pack_response,
    unpack_request,
    unpack_response,
)

planes = array_shapes(min_dims=2, max_dims=2, max_side=40)
few_labels = planes.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 2)))
any_labels = planes.flatmap(lambda shape: arrays(np.uint8, shape))
words = st.text(max_size=20)
encoded = st.builds(EncodedPhoto, st.binary(max_size=200), words, words, words)


def labelled(labels: Any, *, confidence: bool) -> Labelled:
    return Labelled(labels, np.bincount(labels.ravel(), minlength=11), labels[::-1].copy() if confidence else None)


@given(st.lists(encoded, max_size=4), st.integers(1, 4096), st.booleans())
def test_a_request_arrives_as_it_was_sent(photos: list[EncodedPhoto], long_side: int, confidence: bool) -> None:
    arrived = unpack_request(bytearray(pack_request(Request(photos, long_side, confidence, 10**6))))
    assert [replace(photo, body=bytes(photo.body)) for photo in arrived.photos] == photos
    assert (arrived.long_side, arrived.confidence, arrived.max_pixels) == (long_side, confidence, 10**6)


@given(st.lists(st.one_of(few_labels, any_labels), max_size=3), st.booleans())
def test_labels_arrive_as_they_were_sent(maps: list[Any], confidence: bool) -> None:
    sent: list[Labelled | Unreadable] = [labelled(m, confidence=confidence) for m in maps]
    sent.insert(len(sent) // 2, Unreadable("DamagedImage", "It ends early."))
    arrived = unpack_response(pack_response(Response(sent, 0.25, "compiled")))
    assert (arrived.run_seconds, arrived.engine) == (0.25, "compiled")
    for one, other in zip(sent, arrived.results, strict=True):
        if isinstance(one, Unreadable):
            assert other == one
            continue
        assert isinstance(other, Labelled)
        assert other.labels.dtype == np.uint8
        assert np.array_equal(other.labels, one.labels)
        assert other.pixels.dtype == np.int64
        assert np.array_equal(other.pixels, one.pixels)
        assert (other.confidence is None) == (one.confidence is None)
        if one.confidence is not None and other.confidence is not None:
            assert np.array_equal(other.confidence, one.confidence)


def test_large_areas_take_few_bytes_and_noise_takes_no_more_than_itself() -> None:
    flat = np.zeros((1000, 1000), np.uint8)
    flat[500:] = 3
    assert len(pack_response(Response([labelled(flat, confidence=False)], 0, "eager"))) < 400
    noise = np.random.default_rng(0).integers(0, 11, (1000, 1000), np.uint8)
    assert len(pack_response(Response([labelled(noise, confidence=False)], 0, "eager"))) < noise.size + 400


@pytest.mark.parametrize("cut", [0, 3, 20, -1])
def test_a_message_that_was_cut_is_refused(cut: int) -> None:
    whole = pack_request(Request([EncodedPhoto(b"photo")], 480, False, 100))
    with pytest.raises(WireError, match="one version"):
        unpack_request(whole[:cut])


@given(st.binary(max_size=100))
def test_whatever_comes_is_read_or_refused(junk: bytes) -> None:
    for unpack in (unpack_request, unpack_response):
        with pytest.raises(WireError):
            unpack(junk)
