"""From a manifest to a job: rows normalised, counted, hashed and laid out in shards, before any photo is read."""

import hashlib
import json
import secrets
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from labeling.errors import JobError
from labeling.job import PATH, Job, Labels, load_job, part
from labeling.locations import lies_in
from labeling.manifest import read_manifest
from labeling.store import Store
from labeling.tables import to_parquet

_LAYOUT_VERSION = 2
_WHOLE = 2**31 - 1


def plan(store: Store, source: str, labels: Labels, shard_rows: int) -> Job:
    """The job of this manifest, written to the store or found there.

    Two callers may plan the same job at once. Raises JobError where the store holds another job or lies in the folder
    of photos, for a manifest that cannot be read, is empty, or names an image_id twice.
    """
    if lies_in(store.uri, source):
        raise JobError(f"the results would be photos of {source} the next time: choose another --out, outside of it")
    existing = load_job(store)
    folder = f"manifest/{secrets.token_hex(4)}"
    digest, rows = hashlib.sha256(), 0
    ids = array("Q")
    for shard, table in enumerate(shard_tables(read_manifest(source), shard_rows)):
        for row in zip(*map(_values, table.columns), strict=True):
            digest.update(json.dumps(row, default=str).encode() + b"\n")
            ids.append(int.from_bytes(hashlib.blake2b(row[0].encode(), digest_size=8).digest()))
        digest.update(json.dumps(table.schema.names).encode())
        rows += table.num_rows
        if existing is None:
            store.write(f"{folder}/{part(shard)}.parquet", to_parquet(table))
    if rows == 0:
        raise JobError(f"{source} names no photos")
    _refuse_duplicates(ids, source)
    # Arrow keeps what reading took, and a job may run for days.
    pa.default_memory_pool().release_unused()
    key = _key(digest.hexdigest(), labels, shard_rows)
    job = Job(key, source, folder, rows, shard_rows, labels)
    store.flush()
    if existing is None and not store.create(PATH, job.to_json()):
        # Another process was first.
        for entry in store.list(folder):
            store.delete(entry.path)
        existing = load_job(store)
    if existing is None:
        return job
    if existing.key != key:
        raise JobError(f"{store.uri} holds another job ({_difference(existing, job)}): choose another --out")
    return existing


def shard_tables(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of exactly `rows`; the last one may be shorter."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        while batch.num_rows:
            taken = batch.slice(0, rows - count)
            batch = batch.slice(taken.num_rows)
            waiting.append(taken)
            count += taken.num_rows
            if count == rows:
                yield pa.Table.from_batches(waiting)
                waiting, count = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting)


def _values(column: pa.ChunkedArray) -> list[Any]:
    """What decides the key of each row. Times that Python has no value for count as Arrow writes them."""
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError):
        array = column.combine_chunks()
        one_by_one = (array.slice(row, 1) for row in range(len(array)))
        return [one.to_string(window=_WHOLE, container_window=_WHOLE, element_size_limit=_WHOLE) for one in one_by_one]
    return values


def _key(manifest: str, labels: Labels, shard_rows: int) -> str:
    decisive = [_LAYOUT_VERSION, manifest, asdict(labels), shard_rows]
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:32]


def _difference(existing: Job, wanted: Job) -> str:
    before, now = (
        {**asdict(job.labels), "rows": job.rows, "shard_rows": job.shard_rows, "manifest": job.source}
        for job in (existing, wanted)
    )
    differing = [f"its {name} is {before[name]}, not {now[name]}" for name in before if before[name] != now[name]]
    return "; ".join(differing) or "the rows of its manifest differ"


def _refuse_duplicates(ids: "array[int]", source: str) -> None:
    """Hashes are compared first, eight bytes a row; names only where hashes meet."""
    sorted_ids = np.sort(np.frombuffer(ids, np.uint64))
    twice = set(sorted_ids[1:][sorted_ids[1:] == sorted_ids[:-1]].tolist())
    if not twice:
        return
    seen: dict[str, int] = {}
    row = 0
    for batch in read_manifest(source):
        for image_id in batch["image_id"].to_pylist():
            row += 1
            if ids[row - 1] in twice and seen.setdefault(image_id, row) != row:
                raise JobError(f"{source} names the image_id '{image_id}' twice, in rows {seen[image_id]} and {row}")
