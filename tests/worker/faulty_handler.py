"""The handler, with the faults that a request id asks for: crash, or sleep-SECONDS; and version 9 labels nothing."""

import os
import time
from collections.abc import Sequence
from typing import Any

from models.torchserve import handler
from models.torchserve.wire import unpack_request


class FaultyHandler(handler.Handler):
    def handle(self, data: Sequence[dict[str, Any]], context: Any) -> list[bytes]:
        for call in data:
            for photo in unpack_request(call["body"]).photos:
                if photo.request_id.startswith("crash"):
                    os._exit(139)
                if photo.request_id.startswith("sleep-"):
                    time.sleep(float(photo.request_id.removeprefix("sleep-")))
        if self._model.endswith("@9"):
            raise RuntimeError("nine is no version")
        return super().handle(data, context)
