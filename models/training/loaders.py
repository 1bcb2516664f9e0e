"""Batches that processes of their own make."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from torch.utils.data import DataLoader, Dataset

from models.training.dataset import DataError

Item = TypeVar("Item")
Batch = TypeVar("Batch")
Key = TypeVar("Key")


def batches_of(
    items: Dataset[Item], batches: Sequence[list[Key]], collate: Callable[..., Batch], workers: int
) -> Iterator[Batch]:
    """The items of each batch of keys, collated, in this order, by `workers` processes; 0 is this one.

    Signals to this process's group do not reach them. Raises DataError where one of them ends.
    """
    loader = DataLoader(
        items, batch_sampler=batches, num_workers=workers, collate_fn=collate, worker_init_fn=_leave_group
    )
    made = iter(loader)
    if workers and threading.current_thread() is threading.main_thread():
        # PyTorch's handler raises in the middle of a training step, which cannot be resumed. Without it a process that
        # has ended is noticed here, where its batch is missing.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield from made
    except (RuntimeError, ConnectionError, EOFError) as error:
        if not workers or not _tells_of_an_end(error):
            raise
        raise DataError(
            f"a process that loads photos has ended, for want of memory or of space in /dev/shm: {error}; "
            "go on with --resume and fewer --workers"
        ) from error


def _tells_of_an_end(error: Exception) -> bool:
    """Whether a process has ended: by PyTorch's word, or as its batch breaks on the way, before PyTorch notices."""
    if isinstance(error, RuntimeError):
        return str(error).startswith("DataLoader worker (pid")
    # PyTorch's word for what failed inside a process.
    return not str(error).startswith("Caught ")


def _leave_group(_worker: int) -> None:
    # Ctrl-C, and what `timeout` or a service manager sends, are for the training process, which ends this one.
    os.setpgid(0, 0)
