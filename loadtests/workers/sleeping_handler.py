"""The handler around the fake device: calls that TorchServe batched become one batch of the device."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from images import decode
from loadtests.device import SleepingDevice
from models.torchserve.wire import Labelled, Response, pack_response, unpack_request

_CLASSES = 11


class SleepingHandler:
    """Class 0 everywhere."""

    def initialize(self, context: Any) -> None:  # noqa: ARG002 (TorchServe's signature)
        self._device = SleepingDevice()

    def handle(self, data: Sequence[dict[str, Any]], context: Any) -> list[bytes]:  # noqa: ARG002
        requests = [unpack_request(call["body"]) for call in data]
        photos = [[decode(bytes(p.body), max_pixels=r.max_pixels) for p in r.photos] for r in requests]
        self._device.run(len([*chain(*photos)]))
        return [pack_response(Response([_blank(photo) for photo in batch], 0.0, "eager")) for batch in photos]


def _blank(photo: Any) -> Labelled:
    labels = np.zeros(photo.shape[:2], np.uint8)
    return Labelled(labels, np.bincount(labels.ravel(), minlength=_CLASSES), None)
