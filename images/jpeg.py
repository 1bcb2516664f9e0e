"""The markers of a JPEG file (ITU-T T.81, annex B), walked without decoding: frame size, EXIF, number of scans."""

import re
import struct
from collections.abc import Iterator
from itertools import takewhile

from images.errors import DamagedImage

MAX_SEGMENTS = 1000
MAX_SCANS = 100

_EOI, _SOS, _APP1 = 0xD9, 0xDA, 0xE1
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})

# A marker that opens a segment or ends the file; inside a scan FF 00 is data and FF D0 to FF D7 only resynchronise it.
# Any number of FF may come before it. To match those too would take a time that grows with their square.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])")


def frame_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) in pixels, as stored.

    Raises DamagedImage where there is no frame, and where decoding it would cost out of all proportion.
    """
    size: tuple[int, int] | None = None
    components, progressive, scans = 0, False, 0
    for marker, segment in _segments(data):
        if marker in _START_OF_FRAME and size is None and len(segment) >= 6:
            _, height, width, components = struct.unpack_from(">BHHB", segment)
            size, progressive = (width, height), marker in _PROGRESSIVE
        elif marker == _SOS:
            scans += 1
            # Each scan, of some 70 bytes, makes the decoder pass over the whole frame: a small file with hundreds of
            # thousands of them would hold a core for hours. Encoders write about ten.
            if scans > MAX_SCANS:
                raise DamagedImage(f"The JPEG has more than {MAX_SCANS} scans: save it again as a baseline JPEG.")
            if not progressive and segment[:1] == bytes([components]):
                break
    if size is None or not scans:
        raise DamagedImage("The JPEG ends before its picture begins: send the whole file.")
    return size


def exif(data: bytes) -> bytes:
    """Return the EXIF block (a TIFF file, without its `Exif` prefix), or b"" where there is none."""
    header = takewhile(lambda segment: segment[0] != _SOS, _segments(data))
    blocks = (payload[6:] for marker, payload in header if marker == _APP1 and payload.startswith(b"Exif\0\0"))
    return next(blocks, b"")


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (marker, payload) of each segment after the start of the image, up to its end."""
    at, in_scan = 2, False
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None or found[1][0] == _EOI:
            return
        if not in_scan and data[at : found.start()].strip(b"\xff"):
            raise DamagedImage("The header of the JPEG is damaged: save the photo again and send that.")
        marker, start = found[1][0], found.end()
        at = start + max(2, int.from_bytes(data[start : start + 2], "big"))
        in_scan = marker == _SOS
        yield marker, data[start + 2 : at]
    raise DamagedImage(f"The JPEG has more than {MAX_SEGMENTS} segments: save it again without its metadata.")
