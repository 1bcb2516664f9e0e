"""The status tables: one row a photo, written last. A shard whose table exists is done; nothing else says so."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from labeling.counts import Counts
from labeling.job import Job, carried_columns, part
from labeling.store import Store
from labeling.tables import from_parquet, to_parquet
from models.labelsets import LabelSet

FOLDER = "status"

_NAME = re.compile(rf"{FOLDER}/part-(\d+)(?:\.r(\d+))?\.parquet")


@dataclass(frozen=True, slots=True)
class Tar:
    """Where a shard's label maps lie. size in bytes."""

    name: str
    size: int
    sha256: str


@dataclass(slots=True)
class Row:
    """What happened to one photo. Sizes are None and shares empty where it has no labels."""

    image_id: str
    uri: str
    status: str = "ok"
    """ok or error."""
    error_code: str | None = None
    message: str | None = None
    attempts: int = 1
    """How often the photo was tried: read, or labelled by a service; deaths of the process it was in."""
    width: int | None = None
    height: int | None = None
    confidence: float | None = None
    """Mean over the pixels, 0..1."""
    shares: Sequence[float] = ()
    """Of each class, 0..1, by class id."""
    seconds: float = 0.0
    """From the start of its download to its label map, waiting included."""
    offset: int | None = None
    """Where the bytes of the label PNG begin in the tar."""
    size: int | None = None
    """How many they are."""

    def count(self, counts: Counts) -> None:
        """Add the photo to `counts`."""
        counts.add(self.error_code, (self.height or 0) * (self.width or 0), self.seconds)


def share_columns(label_set: LabelSet) -> list[str]:
    """The columns of the classes' shares: share_ and the name, with _ for what SQL would want quoted."""
    return ["share_" + re.sub(r"\W+", "_", label.name).strip("_").lower() for label in label_set.classes]


def schema(manifest: pa.Schema, label_set: LabelSet) -> pa.Schema:
    """Of the status table, the manifest's further columns last."""
    own = [
        ("image_id", pa.string()),
        ("uri", pa.string()),
        ("status", pa.string()),
        ("error_code", pa.string()),
        ("message", pa.string()),
        ("attempts", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("confidence", pa.float32()),
        *((name, pa.float32()) for name in share_columns(label_set)),
        ("model_version", pa.string()),
        ("engine", pa.string()),
        ("seconds", pa.float32()),
        ("png_offset", pa.int64()),
        ("png_size", pa.int64()),
        ("tar", pa.string()),
        ("tar_size", pa.int64()),
        ("tar_sha256", pa.string()),
    ]
    carried = carried_columns(manifest, [name for name, _ in own])
    return pa.schema([*own, *((new, manifest.field(name).type) for name, new in carried.items())])


def table(rows: Sequence[Row], job: Job, photos: pa.Table, label_set: LabelSet, tar: Tar, engine: str | None) -> bytes:
    """The status table as a Parquet file. photos: the rows' own of the manifest. engine: see Labeler."""
    columns: dict[str, Any] = {
        name: [getattr(row, name) for row in rows]
        for name in ("image_id", "uri", "status", "error_code", "message", "attempts", "seconds")
    }
    for name in ("width", "height", "confidence"):
        columns[name] = [getattr(row, name) for row in rows]
    for index, name in enumerate(share_columns(label_set)):
        columns[name] = [row.shares[index] if row.shares else None for row in rows]
    columns["png_offset"] = [row.offset for row in rows]
    columns["png_size"] = [row.size for row in rows]
    for name, value in {
        "model_version": job.labels.model,
        "engine": engine,
        "tar": tar.name,
        "tar_size": tar.size,
        "tar_sha256": tar.sha256,
    }.items():
        columns[name] = [value] * len(rows)
    layout = schema(photos.schema, label_set)
    for name, new in carried_columns(photos.schema, [n for n in layout.names if n in columns]).items():
        columns[new] = photos[name]
    return to_parquet(pa.Table.from_pydict(columns, schema=layout))


def path(shard: int, retry: int = 0) -> str:
    """retry: 0 is the first pass over the shard."""
    return f"{FOLDER}/{part(shard)}{f'.r{retry}' if retry else ''}.parquet"


def committed(store: Store) -> dict[int, int]:
    """The shards that are done, each with the number of its newest retry."""
    found: dict[int, int] = defaultdict(int)
    for entry in store.list(FOLDER):
        if name := _NAME.fullmatch(entry.path):
            shard = int(name[1])
            found[shard] = max(found[shard], int(name[2] or 0))
    return dict(found)


def read(store: Store, shard: int, retry: int, columns: Sequence[str] | None = None) -> pa.Table:
    """One table as it was written. Raises FileNotFoundError."""
    return from_parquet(store.read(path(shard, retry)), columns)


def newest(store: Store, shard: int, retry: int, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The shard's rows in manifest order, each as the newest of its tables, up to `retry`, has it."""
    wanted = None if columns is None else list(dict.fromkeys(["image_id", *columns]))
    rows: dict[str, dict[str, Any]] = {}
    for number in range(retry + 1):
        rows |= {row["image_id"]: row for row in read(store, shard, number, wanted).to_pylist()}
    return list(rows.values())


def all_rows(store: Store, columns: Sequence[str] | None = None) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """(shard, rows) of every shard that is done, one shard in memory at a time."""
    for shard, retry in sorted(committed(store).items()):
        yield shard, newest(store, shard, retry, columns)
