"""Work in threads that is finished where its task is cancelled."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")


async def finished(work: Callable[Arguments, Value], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Value:
    """asyncio.to_thread, but a cancellation waits for the end of `work`, and is raised in place of its outcome.

    A thread cannot be stopped: what cleans up after it would otherwise run beside it, and the process end in its midst.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.gather(running, return_exceptions=True)
        raise
