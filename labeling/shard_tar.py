"""A shard's label maps as a tar in WebDataset's layout: KEY.png and KEY.json one after the other, in manifest order.

Equal labels make equal bytes: times and owners are zero, and nothing depends on when or where it was written.
"""

import hashlib
import json
import tarfile
from typing import Any, BinaryIO, Self

from labeling.names import member_name

_BLOCK = tarfile.BLOCKSIZE


class ShardTar:
    """Written front to back in a `with` block; after it, `size` and `sha256` are those of the finished tar."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def add(self, image_id: str, png: bytes, facts: dict[str, Any]) -> int:
        """Append the label map and its facts; returns where the PNG's bytes begin."""
        key = member_name(image_id)
        offset = self._member(f"{key}.png", png)
        self._member(f"{key}.json", json.dumps(facts, ensure_ascii=False).encode())
        return offset

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Two empty blocks end a tar, which is filled up to a whole record.
        end = self.size + 2 * _BLOCK
        self._write(bytes(-(-end // tarfile.RECORDSIZE) * tarfile.RECORDSIZE - self.size))

    def _member(self, name: str, data: bytes) -> int:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        self._write(info.tobuf(tarfile.PAX_FORMAT))
        offset = self.size
        self._write(data)
        self._write(bytes(-len(data) % _BLOCK))
        return offset

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)
