"""The handler, with the faults that a request id asks for: crash, or sleep-SECONDS; and version 9 labels nothing."""

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.torchserve import handler
from models.torchserve.wire import EncodedPhoto


class FaultyHandler(handler.Handler):
    def handle(self, data: Sequence[dict[str, Any]], context: Any) -> list[bytes]:
        if self._model.endswith("@9"):
            raise RuntimeError("nine is no version")
        return super().handle(data, context)

    def read(self, photo: EncodedPhoto, max_pixels: int) -> NDArray[np.uint8]:
        if photo.request_id.startswith("crash"):
            os._exit(139)
        if photo.request_id.startswith("sleep-"):
            time.sleep(float(photo.request_id.removeprefix("sleep-")))
        return super().read(photo, max_pixels)
