"""The list of photos: Parquet, CSV or JSONL with the columns image_id and uri, a folder, or a bucket prefix."""

import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from labeling.errors import JobError
from labeling.locations import BUCKET_SCHEMES, bucket_location, local_path, resolve, scheme
from labeling.store import open_store

FILES = (".parquet", ".csv", ".jsonl")
PHOTO_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp"),
    *(".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".jxl"),
)
"""What counts as a photo in a folder. Formats that are not taken are among them: they become rows with an error."""

_BATCH = 1000
Row = TypeVar("Row")


def read_manifest(location: str) -> Iterator[pa.RecordBatch]:
    """The photos in their order, in batches of bounded size: image_id and uri (strings), then any other columns.

    Relative URIs are resolved against the manifest's folder. Columns of CSV and JSONL are strings, those of Parquet
    keep their types. A folder's photos come in a fixed order, files before folders, each by name; the image_id is the
    relative path with its extension. Hidden files, and those whose names are no photos', are left out.

    Raises JobError for a location that cannot be read, lacks a column or has one twice, and for an empty image_id or
    uri.
    """
    suffix = Path(location).suffix.lower()
    readers: dict[str, Callable[[BinaryIO], Iterator[pa.RecordBatch]]] = {
        ".parquet": _parquet,
        ".csv": _csv,
        ".jsonl": partial(_jsonl, location=location),
    }
    try:
        if suffix in readers:
            base = location.rpartition("/")[0] if scheme(location) else str(local_path(location).parent)
            with _local_file(location) as file:
                row = 0
                for batch in readers[suffix](file):
                    yield _normalised(batch, base, location, row)
                    row += batch.num_rows
        else:
            yield from _photos_below(location)
    except (OSError, pa.ArrowInvalid, UnicodeError) as error:
        raise JobError(f"{location} cannot be read: {error}") from error


def _local_file(location: str) -> AbstractContextManager[BinaryIO]:
    if not scheme(location):
        return local_path(location).open("rb")
    if scheme(location) not in BUCKET_SCHEMES:
        raise JobError(f"{location}: a manifest lies on this machine or in a bucket ({', '.join(BUCKET_SCHEMES)})")
    folder, _, name = location.rpartition("/")
    return open_store(folder).local_copy(name)


def _parquet(file: BinaryIO) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(file) as parquet:
        yield from parquet.iter_batches(_BATCH)


def _csv(file: BinaryIO) -> Iterator[pa.RecordBatch]:
    header = next((line for line in file if line.strip()), b"")
    names = pa.csv.read_csv(io.BytesIO(header)).column_names
    file.seek(0)
    # Types guessed from the first block would fail on a later one.
    as_text = pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    with pa.csv.open_csv(file, convert_options=as_text) as reader:
        yield from reader


def _jsonl(file: BinaryIO, location: str) -> Iterator[pa.RecordBatch]:
    names: list[str] = []
    with io.TextIOWrapper(file, encoding="utf-8") as lines:
        for rows in _chunks(_json_rows(lines, location)):
            # The first rows say which columns there are.
            names = names or list(dict.fromkeys(name for row in rows for name in row))
            strange = {name for row in rows for name in row} - set(names)
            if strange:
                raise JobError(f"{location}: the columns {sorted(strange)} begin after the first {_BATCH} rows")
            yield pa.RecordBatch.from_pydict(
                {name: pa.array([_text(row.get(name)) for row in rows], pa.string()) for name in names}
            )


def _json_rows(lines: Iterable[str], location: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise JobError(f"{location}, line {number}: not JSON ({error})") from error
            if not isinstance(row, dict):
                raise JobError(
                    f'{location}, line {number}: a line is an object such as {{"image_id": ..., "uri": ...}}'
                )
            yield row


def _text(value: object) -> str | None:
    return value if isinstance(value, str) or value is None else json.dumps(value)


def _photos_below(location: str) -> Iterator[pa.RecordBatch]:
    kind = scheme(location)
    if kind and kind not in BUCKET_SCHEMES:
        raise JobError(f"{location}: a manifest is a {', '.join(FILES)} file, a folder or a bucket prefix")
    if not kind:
        folder = local_path(location)
        if not folder.is_dir():
            raise JobError(f"{location} is neither a folder nor a manifest ({', '.join(FILES)})")
        root, names = str(folder), _files_below(folder)
    else:
        root = location.rstrip("/")
        prefix = bucket_location(root).key
        below = open_store(bucket_location(root).root).list(prefix)
        names = (entry.path.removeprefix(f"{prefix}/") for entry in below)
    photos = (_utf8(name, root) for name in names if os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES)
    for chunk in _chunks(photos):
        yield pa.RecordBatch.from_pydict({"image_id": chunk, "uri": [f"{root}/{name}" for name in chunk]})


def _utf8(name: str, root: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise JobError(f"{root}: the file name {os.fsencode(name)!r} is not UTF-8: rename the file") from None
    return name


def _files_below(folder: Path) -> Iterator[str]:
    def complain(error: OSError) -> None:
        raise error

    seen = set()
    # Left to itself it passes over a folder that cannot be read.
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=complain):
        # A link may lead back to a folder above it.
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = Path(parent).relative_to(folder)
        for name in sorted(name for name in names if not name.startswith(".")):
            yield (relative / name).as_posix()


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    chunk: list[Row] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _BATCH:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _texts(batch: pa.RecordBatch, name: str, location: str) -> list[str | None]:
    try:
        return [_text(value) for value in batch[name].to_pylist()]
    except TypeError:
        kind = batch.schema.field(name).type
        raise JobError(f"{location}: the column {name} is of type {kind}: write it as strings") from None


def _normalised(batch: pa.RecordBatch, base: str, location: str, first: int) -> pa.RecordBatch:
    twice = sorted(name for name, count in Counter(batch.schema.names).items() if count > 1)
    if twice:
        raise JobError(f"{location} has more than one column named {', '.join(twice)}: rename all but one")
    missing = {"image_id", "uri"} - set(batch.schema.names)
    if missing:
        raise JobError(
            f"{location} lacks the columns {', '.join(sorted(missing))}: it has {', '.join(batch.schema.names)}"
        )
    ids, uris = (_texts(batch, name, location) for name in ("image_id", "uri"))
    for row, pair in enumerate(zip(ids, uris, strict=True), first + 1):
        if not all(pair):
            raise JobError(f"{location}, row {row}: image_id and uri must not be empty")
    columns = {"image_id": pa.array(ids, pa.string())}
    columns["uri"] = pa.array([resolve(uri, base) for uri in uris if uri], pa.string())
    columns |= {name: batch[name] for name in batch.schema.names if name not in columns}
    return pa.RecordBatch.from_pydict(columns)
