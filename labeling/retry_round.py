"""A round of --retry-failed: which shards had rows in error when it began. Processes with a part each end it together.

The first process of a round writes it down, all go by that, and whoever finishes the job clears it away. A process that
was killed joins again and goes on where it was.
"""

import json
from collections.abc import Collection

from labeling import status
from labeling.store import Store

PATH = "retrying.json"


def join(store: Store, done: dict[int, int], shards: Collection[int]) -> dict[int, int]:
    """The shards of the round under way, or of a new one if `shards` have rows in error: each with its retry's number.

    done: the shards, each with the number of its newest retry.
    """
    under_way = _read(store)
    if _left(under_way, done):
        return under_way
    if not any(failed(store, shard, newest) for shard, newest in done.items() if shard in shards):
        return {}
    fresh = {shard: newest + 1 for shard, newest in sorted(done.items()) if failed(store, shard, newest)}
    store.write(PATH, json.dumps(fresh).encode())
    return fresh


def left(store: Store, done: dict[int, int]) -> list[int]:
    """Shards that still wait for their turn in the round under way."""
    return _left(_read(store), done)


def end(store: Store) -> None:
    store.delete(PATH)


def failed(store: Store, shard: int, newest: int) -> int:
    """Rows in error."""
    return sum(row["status"] == "error" for row in status.newest(store, shard, newest, ["status"]))


def _left(under_way: dict[int, int], done: dict[int, int]) -> list[int]:
    return [shard for shard, retry in under_way.items() if done[shard] < retry]


def _read(store: Store) -> dict[int, int]:
    try:
        return {int(shard): retry for shard, retry in json.loads(store.read(PATH)).items()}
    except FileNotFoundError:
        return {}
