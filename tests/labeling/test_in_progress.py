from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from labeling.in_progress import DEATHS_ALONE, InProgress
from labeling.store import DiskStore, Entry, Store


class MemoryStore(DiskStore):
    """A store of one process, for many cases a second."""

    def __init__(self) -> None:
        super().__init__(Path("nowhere"))
        self.files: dict[str, bytes] = {}

    def read(self, path: str, start: int = 0, length: int | None = None) -> bytes:  # noqa: ARG002
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path]

    def write(self, path: str, data: bytes) -> None:
        self.files[path] = data

    def delete(self, path: str) -> None:
        self.files.pop(path, None)

    def list(self, folder: str) -> Iterator[Entry]:
        yield from (Entry(path, 0) for path in sorted(self.files) if path.startswith(f"{folder}/"))


class Died(Exception):
    """The process is killed: nothing is tidied up."""


def attempt(store: Store, name: str, rows: int, window: int, deadly: set[int]) -> dict[int, int]:
    """One process: it works off a shard and returns the killers that it knew; Died where a deadly row is in flight."""
    progress = InProgress(store, "part-00000", name)
    progress.recover()

    def work(first: int, end: int) -> None:
        if deadly & set(range(first, end)) - progress.killers.keys():
            raise Died

    for suspects in progress.suspects():
        work(*suspects)
    for first in range(0, rows, window):
        progress.enter((first, min(first + window, rows)))
        work(first, min(first + window, rows))
    killers = progress.killers
    progress.end()
    return killers


@given(st.integers(1, 60), st.integers(1, 32), st.data())
def test_every_deadly_photo_is_found_and_no_other(rows: int, window: int, data: st.DataObject) -> None:
    deadly = data.draw(st.sets(st.integers(0, rows - 1), max_size=4))
    store = MemoryStore()
    for deaths in range(200):
        try:
            found = attempt(store, str(deaths), rows, window, deadly)
            break
        except Died:
            continue
    assert found.keys() == deadly
    assert all(count >= DEATHS_ALONE for count in found.values())
    # One death in the window, one for each time it is halved, and those alone.
    assert deaths <= len(deadly) * (1 + 6 + DEATHS_ALONE)
    assert store.files == {}


@given(st.lists(st.integers(0, 8), max_size=4))
def test_deaths_by_chance_convict_nobody(moments: list[int]) -> None:
    """Whatever it was at when it was killed: in a window of eight the fifth death is the first that may convict."""
    store = MemoryStore()
    for number, moment in enumerate(moments):
        progress = InProgress(store, "part-00000", str(number))
        progress.recover()
        tried = list(islice(progress.suspects(), moment + 1))
        if len(tried) <= moment:
            progress.enter((moment, moment + 8))
    assert attempt(store, "last", 20, 8, set()) == {}


def test_nothing_is_forgotten_when_the_next_dies_at_once() -> None:
    store = MemoryStore()
    first = InProgress(store, "part-00000", "first")
    first.recover()
    first.enter((3, 5))
    for number in range(3):
        InProgress(store, "part-00000", str(number)).recover()
    last = InProgress(store, "part-00000", "last")
    last.recover()
    assert list(last.suspects()) == [(3, 4), (4, 5)]


def test_a_record_that_a_power_cut_emptied_is_a_death() -> None:
    store = MemoryStore()
    store.write("working/part-00000/cut.json", b"")
    progress = InProgress(store, "part-00000", "next")
    progress.recover()
    assert (progress.deaths, list(progress.suspects()), progress.killers) == (1, [], {})


@given(st.integers(1, 60), st.integers(1, 32), st.data())
def test_who_stops_attempts_convicts_nobody_and_hides_nobody(rows: int, window: int, data: st.DataObject) -> None:
    """Between any two attempts that die or end there may be some that are stopped, whatever they are at."""
    deadly = data.draw(st.sets(st.integers(0, rows - 1), max_size=3))
    store = MemoryStore()
    for number in range(400):
        stopped = InProgress(store, "part-00000", f"stopped-{number}")
        stopped.recover()
        tried = list(islice(stopped.suspects(), data.draw(st.integers(0, 2))))
        if not tried:
            stopped.enter((0, min(window, rows)))
        stopped.stop()
        try:
            found = attempt(store, str(number), rows, window, deadly)
            break
        except Died:
            continue
    assert found.keys() == deadly
    assert store.files == {}


def test_an_attempt_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    progress = InProgress(store, "part-00000", "a")
    progress.recover()
    progress.enter((3, 4))
    progress.stop()
    assert list(store.list("working")) == []


def test_an_attempt_that_is_stopped_is_no_death_and_forgets_none() -> None:
    store = MemoryStore()
    InProgress(store, "part-00000", "dies").enter((3, 5))
    stopped = InProgress(store, "part-00000", "stopped")
    stopped.recover()
    assert next(stopped.suspects()) == (3, 4)
    stopped.stop()
    last = InProgress(store, "part-00000", "last")
    last.recover()
    assert last.deaths == 1
    assert sorted(last.suspects()) == [(3, 4), (4, 5)]
    assert last.killers == {}


def test_shards_and_their_retries_know_nothing_of_each_other() -> None:
    store = MemoryStore()
    other = InProgress(store, "part-00000.r1", "a")
    other.recover()
    other.enter((0, 4))
    progress = InProgress(store, "part-00000", "b")
    progress.recover()
    assert progress.deaths == 0
    assert list(progress.suspects()) == []
