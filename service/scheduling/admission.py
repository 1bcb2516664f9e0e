"""Whether a request can be answered in time, decided before its photo is decoded."""

from collections.abc import Callable, Sequence
from types import TracebackType

from service.backends.base import BatchKey, Device
from service.scheduling.cost_model import CostModel

# What a prediction may be off by before a promise is broken: a share of it, and a constant for what is not modelled.
MARGIN_SHARE = 0.05
MARGIN_SECONDS = 0.02


class Refused(Exception):
    """The request would miss its deadline. retry_after: seconds until it is predicted to be admitted.

    alone: seconds that it would take on an idle service; where those exceed its deadline, waiting cannot help.
    """

    def __init__(self, retry_after: float, alone: float) -> None:
        super().__init__(f"would finish {retry_after:.3f} s after its deadline")
        self.retry_after, self.alone = retry_after, alone


class Admission:
    """Predicts when a request would finish from what was admitted before it and is not done."""

    def __init__(self, costs: CostModel, threads: int, devices: Callable[[], Sequence[Device]]) -> None:
        """costs: seconds of decode and encode per pixel, of devices per padded pixel. threads: those of the codecs."""
        self._costs, self._threads, self._devices = costs, threads, devices
        self._codec_backlog = 0.0
        self._device_backlog = 0.0

    def admit(self, key: BatchKey, pixels: int, output: str, seconds: float) -> "Ticket":
        """A ticket to hold until the answer is made, `seconds` from now at the latest. Raises Refused."""
        devices = self._devices()
        decode = self._costs.predict("decode", None, pixels)
        device = self._costs.predict((devices[0].kind, key.model), (key.height, key.width), key.cost)
        encode = self._costs.predict("encode", output, pixels)
        wait = self._codec_backlog / self._threads + self._device_backlog / len(devices)
        alone = (decode + device + encode) * (1 + MARGIN_SHARE) + MARGIN_SECONDS
        late = wait * (1 + MARGIN_SHARE) + alone - seconds
        if late > 0:
            raise Refused(late, alone)
        return Ticket(self, decode=decode, device=device, encode=encode)

    def add(self, codec: float, device: float) -> None:
        """Change the seconds of work that are promised."""
        self._codec_backlog = max(0.0, self._codec_backlog + codec)
        self._device_backlog = max(0.0, self._device_backlog + device)


class Ticket:
    """The work promised to one request, a stage at a time; leaving the context gives back what is left of it."""

    def __init__(self, admission: Admission, *, decode: float, device: float, encode: float) -> None:
        self._admission = admission
        self._left = {"decode": decode, "device": device, "encode": encode}
        admission.add(decode + encode, device)

    def finish(self, stage: str) -> None:
        """Note that "decode", "device" or "encode" is done."""
        seconds = self._left.pop(stage, 0.0)
        self._admission.add(0.0, -seconds) if stage == "device" else self._admission.add(-seconds, 0.0)

    def __enter__(self) -> "Ticket":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stage in tuple(self._left):
            self.finish(stage)
