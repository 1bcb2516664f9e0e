"""The record of the window in progress: it outlives a process that a photo kills, and the next one bisects with it.

Every attempt at a shard keeps one small file that names the rows in flight. One that is found at the start of an
attempt belongs to a process that died (or to another that runs at the same time, which costs some work and no harm).
Its rows are suspects: the next attempt tries them first, half by half and with nothing else in flight, so that each
further death halves what is suspect. A photo that was alone in flight at two deaths is a killer and becomes a row
with an error. Suspects that survive are cleared, and the window is halved: it may have been too much memory at once.
An attempt that somebody stops leaves no file, or, after deaths, one that says so: it is no death.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from labeling.store import Store

FOLDER = "working"
DEATHS_ALONE = 2
"""So often a photo must have been the only one in flight when its process died: once may be a coincidence."""

Rows = tuple[int, int]
"""First and last + 1."""


@dataclass(slots=True)
class Record:
    """What the file holds."""

    rows: Rows = (0, 0)
    """Those in flight."""
    suspects: list[Rows] = field(default_factory=list)
    """Those to be tried before the others."""
    alone: dict[int, int] = field(default_factory=dict)
    """Deaths at which a row was the only one in flight."""
    deaths: int = 0
    """Of processes that worked on this shard."""
    stopped: bool = False
    """Nothing died: somebody ended the attempt."""


class InProgress:
    """The record of one attempt at a shard. `name` is the shard's, with its retry."""

    def __init__(self, store: Store, name: str, attempt: str) -> None:
        self._store = store
        self._folder = f"{FOLDER}/{name}"
        self._path = f"{self._folder}/{attempt}.json"
        self._record = Record()

    @property
    def deaths(self) -> int:
        return self._record.deaths

    @property
    def killers(self) -> dict[int, int]:
        """Rows that must not be tried again, each with the deaths that it caused."""
        return {row: deaths for row, deaths in self._record.alone.items() if deaths >= DEATHS_ALONE}

    def recover(self) -> None:
        """Take over what earlier attempts left."""
        left = [entry.path for entry in self._store.list(self._folder)]
        for path in left:
            try:
                self._add(_parse(self._store.read(path)))
            except FileNotFoundError:
                continue  # That attempt has just ended.
            except ValueError:
                self._add(Record())  # The machine died as it was written: who was in flight is not known.
        if left:
            self._save()
            # Ours first: if this process dies in between, nothing is forgotten.
            for path in left:
                self._store.delete(path)

    def suspects(self) -> Iterator[Rows]:
        """What to try with nothing else in flight: each is written down before it is yielded, and then cleared."""
        halves = [half for suspect in self._record.suspects for half in _halves(suspect)]
        while halves:
            self._record.rows, self._record.suspects = halves[0], halves[1:]
            halves = halves[1:]
            if not set(range(*self._record.rows)) <= self.killers.keys():
                self._save()
                yield self._record.rows

    def enter(self, rows: Rows) -> None:
        """These are in flight from now on, and no others."""
        self._record.rows = rows
        self._save()

    def end(self) -> None:
        """The attempt has come to its end, whatever that is: nothing is suspect."""
        self._store.delete(self._path)

    def stop(self) -> None:
        """Somebody ends the attempt: what is in flight has done nothing, and what earlier deaths taught is kept."""
        if self._record.deaths:
            self._record.stopped = True
            self._save()
        else:
            self.end()

    def _add(self, before: Record) -> None:
        self._record.deaths += before.deaths + (not before.stopped)
        for row, deaths in before.alone.items():
            self._record.alone[row] = max(deaths, self._record.alone.get(row, 0))
        first, end = before.rows
        if end - first == 1 and not before.stopped:
            self._record.alone[first] = self._record.alone.get(first, 0) + 1
        if end > first:
            self._record.suspects.append(before.rows)
        self._record.suspects += before.suspects

    def _save(self) -> None:
        self._store.write(self._path, json.dumps(asdict(self._record)).encode())


def _halves(rows: Rows) -> list[Rows]:
    first, end = rows
    middle = (first + end) // 2
    return [rows] if end - first == 1 else [(first, middle), (middle, end)]


def _parse(data: bytes) -> Record:
    fields = json.loads(data)
    return Record(
        rows=(fields["rows"][0], fields["rows"][1]),
        suspects=[(first, end) for first, end in fields["suspects"]],
        alone={int(row): deaths for row, deaths in fields["alone"].items()},
        deaths=fields["deaths"],
        stopped=fields.get("stopped", False),
    )
