"""Keeps one TorchServe running with the models of a folder, and knows how it is doing."""

import asyncio
import logging
import shutil
import socket
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Literal

from models.torchserve.archive import HANDLER, archive_name, write_archive
from models.torchserve.busy import Busy
from models.torchserve.status import WorkerStatus
from models.torchserve.wire import WireError
from models.weights.checkpoint import Checkpoint
from worker.configuration import Ports, busy_file, write_files
from worker.hardware import cores, gpus
from worker.library import ModelId, WatchedLibrary
from worker.management import Management, ModelRejected, NoAnswer, Totals, totals
from worker.served_model import ServedModel
from worker.settings import WorkerSettings
from worker.torchserve import TorchServe

logger = logging.getLogger("segserve.worker")

# Between looks at TorchServe and at the folder.
_LOOK_SECONDS = 0.5
# Gateways read the status every second: after this long none sends photos to a model that is no longer published.
_UNPUBLISHED_SECONDS = 2.5
# For gateways to send what they accepted for a model that has left the folder.
_LEAVING_SECONDS = 12.0
# Without a call on its way to a process, at one, or on its way back, for this long, there is none.
_QUIET_SECONDS = 1.0
# A model that could not be loaded is tried again: memory may have been short.
_REJECTED_SECONDS = 60.0
# Where there is no GPU, as of engines in the embedded backend: more keep no more cores busy, and each takes its memory.
_MOST_ON_CPU = 4
# Between starts of a TorchServe that ends by itself; the first comes at once, and after this long all is forgotten.
_BACK_OFF = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_FORGET_SECONDS = 60.0


class Supervisor:
    """`run` it, and read its `status`."""

    def __init__(self, settings: WorkerSettings, handler: str = HANDLER) -> None:
        """handler: the module of the class that TorchServe's Python processes run. Raises CheckpointError."""
        self._settings, self._handler = settings, handler
        self._library = WatchedLibrary(settings.model_dir)
        self.folder = Path(tempfile.mkdtemp(prefix="segserve-"))
        names = gpus()
        self.kind = names[0] if names else "cpu"
        self.slots = settings.slots or len(names) or min(cores(), _MOST_ON_CPU)
        self._threads = None if names else max(1, cores() // self.slots)
        inference, *others = _free_ports(5, besides=(settings.port, settings.inference_port))
        self.ports = Ports(settings.inference_port or inference, *others)
        write_files(self.folder, host=settings.host, ports=self.ports, stall_s=settings.stall_s)
        self.management = Management(self.ports)
        self._busy = Busy(busy_file(self.folder))
        self.restarts = 0
        self._state: Literal["starting", "ready", "stopping"] = "starting"
        self._models: dict[ModelId, ServedModel] = {}

    @property
    def status(self) -> WorkerStatus:
        """As of half a second ago."""
        models = [m.status for _, m in sorted(self._models.items()) if m.state != "unpublished"]
        return WorkerStatus(
            kind=self.kind,
            slots=self.slots,
            inference_port=self.ports.inference,
            state=self._state,
            restarts=self.restarts,
            models=models,
        )

    @property
    def ready(self) -> bool:
        """Whether gateways may send photos."""
        return self._state == "ready" and any(m.state == "ready" and m.load.processes for m in self._models.values())

    async def run(self) -> None:
        """Until it is cancelled; then nothing of TorchServe is left. Raises FileNotFoundError where that is missing."""
        failures = 0
        try:
            while True:
                started = time.monotonic()
                await self._run_once()
                self.restarts += 1
                failures = 0 if time.monotonic() - started > _FORGET_SECONDS else failures + 1
                await asyncio.sleep(_BACK_OFF[min(max(0, failures - 1), len(_BACK_OFF) - 1)])
        finally:
            await self.management.close()
            self._busy.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    async def drain(self) -> None:
        """Let gateways know that this worker leaves, and wait for the calls that they have sent already."""
        self._state = "stopping"
        with suppress(*NoAnswer):
            async with asyncio.timeout(self._settings.drain_s):
                await asyncio.sleep(min(_UNPUBLISHED_SECONDS, self._settings.drain_s))
                before, worked = None, True
                # Quiet from one look to the next: an answer is still on its way when its call has just ended.
                while (now := totals(await self.management.metrics())) != before or self._at_work() or worked:
                    before, worked = now, self._at_work()
                    await asyncio.sleep(_QUIET_SECONDS)

    def _at_work(self) -> bool:
        return self._busy.anyone() or any(model.load.waiting for model in self._models.values())

    async def _run_once(self) -> None:
        """One run of TorchServe, until it ends."""
        self._models.clear()
        settings = self._settings
        torchserve = await TorchServe.start(self.folder, settings.log_level, settings.otlp_endpoint, self._threads)
        ended = asyncio.create_task(torchserve.wait())
        minding = asyncio.create_task(self._mind())
        try:
            await asyncio.wait({ended, minding}, return_when=asyncio.FIRST_COMPLETED)
            if minding.done():
                minding.result()
            logger.error("TorchServe ended with %s and is started again", torchserve.exit_status)
        finally:
            if self._state == "ready":
                self._state = "starting"
            minding.cancel()
            await torchserve.kill()
            await asyncio.gather(ended, minding, return_exceptions=True)

    async def _mind(self) -> None:
        while not await self.management.alive():  # noqa: ASYNC110 (it notifies nobody)
            await asyncio.sleep(0.1)
        while True:
            # Loading takes long, and what is loaded already is looked at meanwhile.
            async with asyncio.TaskGroup() as tasks:
                loading = tasks.create_task(self._reconcile())
                while not loading.done():
                    await self._look()
                    await asyncio.wait({loading}, timeout=_LOOK_SECONDS)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _reconcile(self) -> None:
        """Load what is new in the folder, unload what has left it; of other weights under a known name do both."""
        wanted = await asyncio.to_thread(self._library.scan)
        now = time.monotonic()
        for key, checkpoint in wanted.items():
            known = self._models.get(key)
            if known and known.checkpoint.sha256 != checkpoint.sha256:
                await self._unload(key, known)
                known = None
            if known and known.state == "leaving":
                known.state = "ready"  # It is back in time.
            if known is None or (known.state == "failed" and now - known.since > _REJECTED_SECONDS):
                await self._load(key, checkpoint)
        # Last, so that a name whose next version has come is never without one.
        for key, model in tuple(self._models.items()):
            if key in wanted:
                continue
            if model.state == "ready":
                model.state, model.since = "leaving", now
            if model.state != "leaving" or now - model.since >= _LEAVING_SECONDS:
                await self._unload(key, model)
        if self._state == "starting":
            self._state = "ready"

    async def _load(self, key: ModelId, checkpoint: Checkpoint) -> None:
        name, version = key
        model = self._models[key] = ServedModel(checkpoint)
        archive = archive_name(checkpoint)
        try:
            path = self.folder / "models" / archive
            await asyncio.to_thread(write_archive, checkpoint, path, handler=self._handler)
            await self.management.register(archive, name, self.slots, self._settings.stall_s)
            await self.management.try_out(name, version, checkpoint.card.input_size)
            model.load = await self.management.load(name, version)
            model.state = "ready"
            logger.info("%s@%d is loaded. Licence: %s", name, version, checkpoint.card.licence)
        except (ModelRejected, WireError, *NoAnswer) as error:
            model.state, model.detail, model.since = "failed", str(error), time.monotonic()
            logger.error("%s@%d could not be loaded: %s", name, version, error)
            # It may be registered, and hold memory, although it labels nothing.
            with suppress(*NoAnswer):
                await self._unregister(key)
        finally:
            # TorchServe has unpacked it.
            (self.folder / "models" / archive).unlink(missing_ok=True)

    async def _unload(self, key: ModelId, model: ServedModel) -> None:
        name, version = key
        if model.state in ("ready", "leaving"):
            model.state = "unpublished"
            await asyncio.sleep(_UNPUBLISHED_SECONDS)
            # One that does not answer is started again, without this model.
            with suppress(*NoAnswer):
                await self._unregister(key)
        del self._models[key]
        logger.info("%s@%d is unloaded", name, version)

    async def _unregister(self, key: ModelId) -> None:
        name, version = key
        others = [v for (n, v), m in self._models.items() if n == name and v != version and m.state == "ready"]
        await self.management.unregister(name, version, max(others, default=None))

    async def _look(self) -> None:
        """Bring processes, queues and times up to date. What cannot be learned stays as it was."""
        with suppress(*NoAnswer, ModelRejected, ValueError):
            measured = totals(await self.management.metrics())
            for (name, version), model in tuple(self._models.items()):
                if model.state not in ("ready", "leaving"):
                    continue
                model.load = await self.management.load(name, version)
                model.learn(measured.get((name, str(version)), Totals()))


def _free_ports(count: int, besides: Sequence[int]) -> list[int]:
    """As many different ones."""
    with ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            # Nobody may listen on those yet, so that they count as free.
            if port not in besides:
                ports.append(port)
        return ports
