"""What goes wrong in the processes that make batches, and on the way from them."""

import errno
import os
from collections.abc import Callable
from typing import NoReturn

import pytest
from torch.utils.data import Dataset

from models.training.dataset import DataError
from models.training.loaders import batches_of


class Numbers(Dataset[int]):
    def __getitem__(self, key: int) -> int:
        return key


def reset() -> NoReturn:
    raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))


class Torn:
    """A batch that breaks as it is fetched, as that of a process does which ends just then."""

    def __reduce__(self) -> tuple[Callable[[], NoReturn], tuple[()]]:
        return reset, ()


def torn(_numbers: list[int]) -> Torn:
    return Torn()


def unreachable(_numbers: list[int]) -> NoReturn:
    reset()


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_order(workers: int) -> None:
    assert list(batches_of(Numbers(), [[2, 0], [1], [3, 4]], sum, workers)) == [2, 1, 7]


def test_a_batch_that_breaks_as_it_is_fetched_is_a_process_that_has_ended() -> None:
    with pytest.raises(DataError, match="a process that loads photos has ended"):
        list(batches_of(Numbers(), [[0]], torn, workers=1))


@pytest.mark.parametrize("workers", [0, 1])
def test_what_fails_inside_a_process_is_told_as_it_is(workers: int) -> None:
    # Photos may lie on a network's drive.
    with pytest.raises(ConnectionResetError):
        list(batches_of(Numbers(), [[0]], unreachable, workers))
