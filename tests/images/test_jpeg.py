import time

import numpy as np
import pytest

from images import DamagedImage, decode, probe
from tests import photos

PHOTO = photos.street(48, 64)
BASELINE = photos.jpeg(PHOTO)
PROGRESSIVE = photos.jpeg(PHOTO, progressive=True)
END = b"\xff\xd9"


def segment(marker: int, payload: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(payload) + 2).to_bytes(2, "big") + payload


def with_segments(*segments: bytes) -> bytes:
    return BASELINE[:2] + b"".join(segments) + BASELINE[2:]


def size(data: bytes) -> tuple[int, int]:
    info = probe(data, max_pixels=10_000)
    return info.height, info.width


def test_metadata_is_passed_over() -> None:
    frame_in_a_thumbnail = segment(0xE1, b"Exif\0\0" + photos.jpeg(photos.street(8, 8)))
    assert size(with_segments(frame_in_a_thumbnail, segment(0xFE, b"a comment"))) == (48, 64)


def test_fill_bytes_before_a_marker() -> None:
    data = BASELINE[:2] + b"\xff\xff\xff" + BASELINE[2:]
    assert size(data) == (48, 64)
    assert decode(data, max_pixels=10_000).shape == (48, 64, 3)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("start", [BASELINE[:2], BASELINE[:-2], PROGRESSIVE[:-2]])
def test_a_flood_of_fill_bytes_costs_no_more_than_their_number(start: bytes) -> None:
    """Were it their square, this would take an hour."""
    flood = start + b"\xff" * 2_000_000
    if start == BASELINE[:2]:
        with pytest.raises(DamagedImage, match="ends before"):
            probe(flood, max_pixels=10_000)
    else:
        assert size(flood) == (48, 64)
    assert size(BASELINE[:2] + b"\xff" * 2_000_000 + BASELINE[2:]) == (48, 64)


def test_junk_in_the_header_is_damage() -> None:
    with pytest.raises(DamagedImage, match="header"):
        probe(with_segments(segment(0xFE, b"a comment"), b"junk"), max_pixels=10_000)


def test_header_without_a_scan() -> None:
    with pytest.raises(DamagedImage, match="ends before"):
        probe(BASELINE[: BASELINE.index(b"\xff\xda")], max_pixels=10_000)


def test_a_flood_of_segments_is_refused() -> None:
    with pytest.raises(DamagedImage, match="without its metadata"):
        probe(with_segments(*[segment(0xFE, b"")] * 2000), max_pixels=10_000)


def test_a_flood_of_scans_is_refused_before_it_costs_anything() -> None:
    last = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]
    assert decode(PROGRESSIVE, max_pixels=10_000).shape == (48, 64, 3)
    began = time.thread_time()
    with pytest.raises(DamagedImage, match="baseline"):
        probe(PROGRESSIVE[:-2] + last * 20_000 + END, max_pixels=10_000)
    assert time.thread_time() - began < 0.5


def test_scans_hidden_behind_an_end_in_a_comment_are_counted() -> None:
    last = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]
    with pytest.raises(DamagedImage, match="baseline"):
        probe(PROGRESSIVE[:-2] + segment(0xFE, END) + last * 200 + END, max_pixels=10_000)


def test_what_follows_the_picture_is_not_counted() -> None:
    film = b"\xff\xda\0\x08" * 500
    for data in (BASELINE, PROGRESSIVE):
        assert np.array_equal(decode(data + film, max_pixels=10_000), decode(data, max_pixels=10_000))
