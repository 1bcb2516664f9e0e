"""The checkpoints that a worker is to serve, looked for again and again."""

import logging
from collections.abc import Mapping
from pathlib import Path

from models.weights.checkpoint import Checkpoint, CheckpointError
from models.weights.library import SHIPPED

logger = logging.getLogger("segserve.worker")

ModelId = tuple[str, int]
"""Name and version."""


class WatchedLibrary:
    """Those that ship and those in `directory`, which hide them. A file is read again only when it has changed."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._known: dict[Path, tuple[tuple[int, int], Checkpoint | None]] = {}

    def scan(self) -> Mapping[ModelId, Checkpoint]:
        """What is there now. A file that cannot be read, such as one half copied, is logged once and left out."""
        found: dict[ModelId, Checkpoint] = {}
        seen = set()
        for folder in (SHIPPED, self._directory):
            for path in sorted(folder.glob("*.safetensors")) if folder else ():
                seen.add(path)
                checkpoint = self._read(path)
                if checkpoint:
                    found[checkpoint.card.name, checkpoint.card.version] = checkpoint
        self._known = {path: entry for path, entry in self._known.items() if path in seen}
        return found

    def _read(self, path: Path) -> Checkpoint | None:
        # Of a link that leads nowhere, or a file that has gone meanwhile.
        stamp = (0, 0)
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
        except OSError:
            pass
        if path in self._known and self._known[path][0] == stamp:
            return self._known[path][1]
        try:
            checkpoint = Checkpoint.open(path)
            checkpoint.sha256  # noqa: B018 (of the file as it is now)
        except (CheckpointError, OSError) as error:
            logger.error("%s is not served: %s", path, error)
            checkpoint = None
        self._known[path] = (stamp, checkpoint)
        return checkpoint
