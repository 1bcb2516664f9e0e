"""Another attempt, later: exponential backoff with full jitter for errors that may pass."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from labeling.errors import RefusedError, TransientError

ATTEMPTS = 5
FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
PATIENCE_S = 600.0
"""How long one photo is offered to a service that refuses it."""

Value = TypeVar("Value")


async def retrying(work: Callable[[], Awaitable[Value]]) -> tuple[Value, int]:
    """The result of `work` and the attempts it took. Raises its PhotoError when all attempts are used up."""
    attempt = 1
    give_up = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await work(), attempt
        except RefusedError as error:
            if time.monotonic() + error.retry_after > give_up:
                raise
            # Never earlier than asked for, and not all at the same instant.
            await asyncio.sleep(error.retry_after * random.uniform(1, 1.25))
        except TransientError as error:
            if attempt == ATTEMPTS:
                error.attempts = attempt
                raise
            await asyncio.sleep(random.uniform(0, min(LONGEST_DELAY_S, FIRST_DELAY_S * 2**attempt)))
            attempt += 1
