"""JPEG files to label maps as PNG files, the network seeing the photos unscaled: without and with our engine."""

import io
import threading
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from images import decode, encode_label_map
from loadtests.rivals.options import Options
from models import labelsets
from models.engine.benchmark import PlainPyTorch
from models.engine.loading import find, load_engine, load_network

MAX_PIXELS = 50_000_000


class PlainNetwork:
    """As users of these servers write it: Pillow, PyTorch in float32, interpolate, argmax. Photos of one size."""

    def __init__(self, options: Options) -> None:
        checkpoint = find(options.model)
        preprocessing = checkpoint.card.preprocessing
        self._plain = PlainPyTorch(load_network(checkpoint), preprocessing, preprocessing.long_side)
        self._lock = threading.Lock()

    def run(self, photos: Sequence[bytes]) -> list[bytes]:
        with self._lock:
            images = [np.array(Image.open(io.BytesIO(photo)).convert("RGB")) for photo in photos]
            return [_png(labels.astype(np.uint8)) for labels in self._plain.run(images)]


class OurEngine:
    """The engine and the codecs that segserve itself has, in one thread where the server has a process a core."""

    def __init__(self, options: Options) -> None:
        checkpoint = find(options.model)
        if options.workers > 1:
            torch.set_num_threads(1)
        self._threads = torch.get_num_threads()
        self._engine = load_engine(checkpoint)
        self._palette = labelsets.load(checkpoint.card.label_set).palette
        self._lock = threading.Lock()

    def run(self, photos: Sequence[bytes]) -> list[bytes]:
        with self._lock:
            # Which is a setting of the calling thread.
            torch.set_num_threads(self._threads)
            pixels = [decode(photo, max_pixels=MAX_PIXELS) for photo in photos]
            found = self._engine.run(pixels, long_side=max(pixels[0].shape[:2]))
            return [encode_label_map(segmentation.labels, self._palette) for segmentation in found]


def _png(labels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(labels).save(file, "PNG")
    return file.getvalue()
