"""Arrow tables as the bytes of Parquet files."""

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq


def to_parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def from_parquet(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """columns: None for all of them."""
    return pq.read_table(pa.BufferReader(data), columns=columns)
