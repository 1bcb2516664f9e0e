"""What waits and runs: a ticket is work promised to a request, a job is its photo in the queue."""

from asyncio import Future
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from service.backends.base import BatchKey, EncodedPhoto, Photo, Segmentation
from service.scheduling.priority import Priority


@dataclass(slots=True, eq=False)
class Ticket:
    """Work promised to one request, until the context is left. Times are seconds on the scheduler's clock."""

    key: BatchKey
    priority: Priority
    admitted: float
    deadline: float
    decode_seconds: float
    """Predicted; zero once the photo is decoded."""
    start: float
    """When it is predicted to reach a device; what the sojourn guard adds comes on top."""
    finish: float
    """When its answer is predicted to be made."""
    latest: float
    """When a device must have it, or its answer will miss the deadline."""
    release: Callable[["Ticket"], None]
    dispatched: float | None = None
    """When a device got it."""

    def rank(self, now: float) -> Priority:
        """Its class, or the one above once half of its time is gone, so that nobody is overtaken for ever."""
        aged = now - self.admitted > (self.deadline - self.admitted) / 2
        return Priority(max(Priority.INTERACTIVE, self.priority - aged))

    def __enter__(self) -> "Ticket":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release(self)


@dataclass(frozen=True, slots=True)
class Result:
    """A photo's segmentation, and the seconds it waited for a device and the device took."""

    segmentation: Segmentation
    queue_seconds: float
    infer_seconds: float


@dataclass(slots=True, eq=False)
class Job:
    """A photo that waits for a device. retried: a device was lost with it."""

    ticket: Ticket
    photo: Photo | EncodedPhoto
    submitted: float
    future: "Future[Result]"
    retried: bool = False

    def give_up_if_hopeless(self, now: float) -> None:
        """Too late for a device, it fails with TimeoutError: its time is for those that can still be in time."""
        if now > self.ticket.latest and not self.future.done():
            self.future.set_exception(TimeoutError())
