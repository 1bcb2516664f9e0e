"""Tickets and jobs as admission and the pipeline make them."""

import asyncio

import numpy as np

from service.backends.base import BatchKey, Photo
from service.scheduling.job import Job, Ticket
from service.scheduling.priority import Priority

SMALL = BatchKey("fake@1", 32, 32, 256, False)
LARGE = BatchKey("fake@1", 64, 64, 256, False)


def photo(number: int) -> Photo:
    """One whose pixels are all `number`."""
    return np.full((4, 4, 3), number, np.uint8)


def ticket(
    key: BatchKey = SMALL,
    priority: Priority = Priority.NORMAL,
    *,
    admitted: float = 0.0,
    deadline: float = 1e9,
    latest: float = 1e9,
) -> Ticket:
    """Of a photo that is decoded and could start at once."""
    return Ticket(key, priority, admitted, deadline, 0.0, admitted, deadline, latest, lambda _: None)


def job(
    key: BatchKey = SMALL,
    priority: Priority = Priority.NORMAL,
    *,
    admitted: float = 0.0,
    deadline: float = 1e9,
    latest: float = 1e9,
) -> Job:
    """One that waits; needs a running loop."""
    promised = ticket(key, priority, admitted=admitted, deadline=deadline, latest=latest)
    return Job(promised, photo(0), admitted, asyncio.get_running_loop().create_future())
