import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from images import DamagedImage, FormatNotAllowed, NotAnImage, decode_label_map, encode_grey, encode_label_map
from tests import photos
from tests.photos import Pixels

PALETTE = np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes()
LABELS = np.arange(256, dtype=np.uint8).reshape(8, 32)

maps = hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)))


@given(maps)
def test_label_maps_survive_exactly(labels: Pixels) -> None:
    assert np.array_equal(decode_label_map(encode_label_map(labels, PALETTE)), labels)


@given(maps)
def test_grey_maps_survive_exactly(values: Pixels) -> None:
    decoded = decode_label_map(encode_grey(values))
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, values)


def test_a_turned_view_survives_exactly() -> None:
    view = LABELS.T[::-1, ::2]
    assert np.array_equal(decode_label_map(encode_label_map(view, PALETTE)), view)
    assert np.array_equal(decode_label_map(encode_grey(view)), view)


def test_a_label_map_is_data_and_picture() -> None:
    image = Image.open(io.BytesIO(encode_label_map(LABELS, PALETTE)))
    assert (image.format, image.mode, image.size) == ("PNG", "P", (32, 8))
    assert np.array_equal(np.asarray(image), LABELS)
    assert np.asarray(image.convert("RGB")).tobytes() == PALETTE


def test_a_grey_map_is_a_grey_picture() -> None:
    image = Image.open(io.BytesIO(encode_grey(LABELS)))
    assert (image.format, image.mode, image.size) == ("PNG", "L", (32, 8))


def test_checksums_are_right() -> None:
    for file in (encode_grey(LABELS), encode_label_map(LABELS, PALETTE)):
        Image.open(io.BytesIO(file)).verify()
        at = file.index(b"IDAT") + 4
        with pytest.raises(SyntaxError, match="broken PNG file"):
            Image.open(io.BytesIO(file[:at] + bytes([file[at] ^ 1]) + file[at + 1 :])).verify()


def test_flat_regions_take_little() -> None:
    labels = np.repeat(np.arange(19, dtype=np.uint8), 54)[:1024, np.newaxis].repeat(2048, axis=1)
    assert len(encode_label_map(labels, PALETTE)) < 20_000


def test_decoded_labels_can_be_written_to() -> None:
    labels = decode_label_map(encode_label_map(LABELS, PALETTE))
    labels[0, 0] = 7
    assert labels[0, 0] == 7


@pytest.mark.parametrize("length", [0, 57, 769])
def test_a_palette_has_768_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="768"):
        encode_label_map(LABELS, bytes(length))


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_indexed_files_of_few_bits(depth: int) -> None:
    labels = LABELS % (1 << depth)
    image = Image.fromarray(labels)
    image.putpalette(PALETTE)
    assert np.array_equal(decode_label_map(photos.encoded(image, "PNG", bits=depth)), labels)


def test_what_is_no_label_map() -> None:
    colours = photos.street(8, 32)
    with pytest.raises(FormatNotAllowed, match="not a JPEG"):
        decode_label_map(photos.jpeg(LABELS))
    for data in (photos.png(colours), photos.png(LABELS.astype(np.uint16))):
        with pytest.raises(FormatNotAllowed, match="indexed or 8-bit grey"):
            decode_label_map(data)
    with pytest.raises(NotAnImage):
        decode_label_map(b"labels")
    with pytest.raises(DamagedImage):
        decode_label_map(encode_label_map(LABELS, PALETTE)[:-60])
