"""Pillow on a short lead: one allowed format at a time, no warnings, and one exception for all that goes wrong."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from images.errors import DamagedImage, ImageError

# Our limit is checked on the header before Pillow sees the bytes. Pillow's own is fixed, and at first it only warns.
Image.MAX_IMAGE_PIXELS = None


@contextmanager
def open_image(data: bytes, format: str) -> Iterator[Image.Image]:
    """Open `data` as `format` and nothing else; whatever fails inside the `with` block becomes DamagedImage."""
    # Filters belong to the process, not to the thread. Where two threads overlap, what may stay behind is this one
    # filter, and it does no harm: Pillow warns of odd metadata and malformed animations, which nobody here can mend.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            with Image.open(io.BytesIO(data), formats=[format]) as image:
                yield image
        except (ImageError, MemoryError):
            raise
        except Exception as error:  # Hostile files make Pillow raise OSError, SyntaxError, ValueError, EOFError, ...
            raise DamagedImage(f"The {format} is damaged: save the photo again and send that.") from error
