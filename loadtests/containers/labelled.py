"""Whether what runs in a container labels photos."""

import io

import httpx
from PIL import Image

from loadtests.loopback import HOST
from loadtests.photos import street_photo

HEIGHT, WIDTH = 360, 480


def labels(port: int) -> bytes:
    """Of a photo, as the label map's pixels. Raises AssertionError for an answer that is not one."""
    body = street_photo(HEIGHT, WIDTH).body
    answer = httpx.post(f"http://{HOST}:{port}/segment?output=labels", content=body, timeout=60)
    answer.raise_for_status()
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert (picture.mode, picture.size) == ("P", (WIDTH, HEIGHT))
        assert len(set(picture.tobytes())) > 2, "a street has more classes"
        return picture.tobytes()
