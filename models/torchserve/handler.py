"""The handler that TorchServe's Python processes run: it unpacks, calls the engine, packs."""

import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from images import ImageError, decode
from models.engine.loading import Checkpoint, load_engine
from models.torchserve import busy
from models.torchserve.tracing import Stages, from_environment
from models.torchserve.wire import (
    CANNOT_LABEL,
    EncodedPhoto,
    Labelled,
    Request,
    Response,
    Unreadable,
    WireError,
    pack_response,
    unpack_request,
)

# TorchServe writes what a handler prints to its own log, line by line: see worker/configuration.py.
logger = logging.getLogger("segserve.worker")


class Handler:
    """The model of an archive that `segserve archive` wrote, on one device. TorchServe makes one a process."""

    def initialize(self, context: Any) -> None:
        """Load the network and run it once, so that the first photo does not pay for memory and kernels."""
        # Everybody else's lines, of which TorchServe's own code writes one a request, are noise here.
        logging.getLogger().setLevel(logging.WARNING)
        for name in ("segserve.worker", "ts.metrics"):
            logging.getLogger(name).setLevel(logging.INFO)
        properties = context.system_properties
        [path] = Path(properties["model_dir"]).glob("*.safetensors")
        checkpoint = Checkpoint.open(path)
        gpu = properties.get("gpu_id")
        device = torch.device("cuda", int(gpu)) if gpu is not None and torch.cuda.is_available() else None
        self._model = f"{checkpoint.card.name}@{checkpoint.card.version}"
        self._engine = load_engine(checkpoint, device=device)
        self.tracing = from_environment()
        shared = os.environ.get(busy.FILE)
        self._busy = busy.Busy(Path(shared)) if shared else None
        self._decoders = ThreadPoolExecutor(thread_name_prefix="decode")
        self._engine.run([np.zeros((*checkpoint.card.input_size, 3), np.uint8)])

    def handle(self, data: Sequence[dict[str, Any]], context: Any) -> list[bytes]:
        """One answer a call. data: what TorchServe collected, one call unless its batchSize was raised."""
        with self._busy.at_a_call() if self._busy else nullcontext():
            return [self._answer(index, call["body"], context) for index, call in enumerate(data)]

    def _answer(self, index: int, body: bytearray, context: Any) -> bytes:
        started = time.perf_counter()
        context.set_response_content_type(index, "application/octet-stream")
        try:
            request = unpack_request(body)
        except WireError as error:
            context.set_response_status(400, "Bad Request", index)
            return str(error).encode()
        try:
            with self._traced(request) as stages:
                results = self._label(request, stages)
        except torch.AcceleratorError as error:
            # Nothing runs on that device in this process any more: TorchServe starts another one.
            if self.tracing:
                self.tracing.stop()
            raise SystemExit(repr(error)) from error
        except Exception as error:
            self._log(request, started, "failed", exception=repr(error))
            context.set_response_status(CANNOT_LABEL, "Cannot Label", index)
            return repr(error).encode()
        self._log(request, started, "labelled")
        return pack_response(Response(results, time.perf_counter() - started, self._engine.network.kind))

    def read(self, photo: EncodedPhoto, max_pixels: int) -> NDArray[np.uint8]:
        """Pixels (H x W x 3, RGB) of what travelled. Raises ImageError."""
        return decode(bytes(photo.body), max_pixels=max_pixels)

    @contextmanager
    def _traced(self, request: Request) -> Iterator[Stages]:
        stages = Stages()
        try:
            yield stages
        except Exception:
            stages.fail()
            raise
        finally:
            if self.tracing:
                self.tracing.add(request, self._model, stages)

    def _label(self, request: Request, stages: Stages) -> list[Labelled | Unreadable]:
        def read(photo: EncodedPhoto) -> NDArray[np.uint8] | Unreadable:
            try:
                return self.read(photo, request.max_pixels)
            except ImageError as error:
                return Unreadable(type(error).__name__, str(error))

        photos = list(self._decoders.map(read, request.photos))
        stages.end()
        segmentations = iter(
            self._engine.run(
                [photo for photo in photos if not isinstance(photo, Unreadable)],
                confidence=request.confidence,
                long_side=request.long_side,
            )
        )
        stages.end()
        return [photo if isinstance(photo, Unreadable) else _labelled(next(segmentations)) for photo in photos]

    def _log(self, request: Request, started: float, message: str, **fields: str) -> None:
        """One line a photo."""
        for photo in request.photos:
            line = {
                "time": datetime.now(UTC).isoformat(),
                "level": "ERROR" if fields else "INFO",
                "logger": logger.name,
                "message": message,
                "request_id": photo.request_id,
                "traceparent": photo.traceparent,
                "model": self._model,
                "batch_photos": len(request.photos),
                "milliseconds": round((time.perf_counter() - started) * 1000, 1),
                **fields,
            }
            logger.info(json.dumps(line))


def _labelled(segmentation: Any) -> Labelled:
    return Labelled(segmentation.labels, segmentation.pixels, segmentation.confidence)
