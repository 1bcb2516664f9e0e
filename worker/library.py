"""The checkpoints that a worker is to serve, looked for again and again."""

import logging
from collections.abc import Mapping
from pathlib import Path

from models.weights.checkpoint import Checkpoint, CheckpointError
from models.weights.library import SHIPPED, check, named

logger = logging.getLogger("segserve.worker")

ModelId = tuple[str, int]
"""Name and version."""


class WatchedLibrary:
    """Those in `directory`, and those that ship under other names. A file is read again only when it has changed."""

    def __init__(self, directory: Path | None) -> None:
        """Raises CheckpointError where `directory` is not there."""
        check(directory)
        self._directory = directory
        self._known: dict[Path, tuple[tuple[int, int], Checkpoint | None]] = {}

    def scan(self) -> Mapping[ModelId, Checkpoint]:
        """What is there now. A file that cannot be read, such as one half copied, is logged once.

        It counts as what it was before, if anything, and its name stays the user's: what ships never stands in for it.
        """
        own = self._own()
        taken = {_name(path) for path in own}
        shipped = [path for path in _files(SHIPPED) if _name(path) not in taken]
        self._known = {path: self._read(path) for path in shipped + own}
        found = (checkpoint for _, checkpoint in self._known.values() if checkpoint)
        return {(checkpoint.card.name, checkpoint.card.version): checkpoint for checkpoint in found}

    def _own(self) -> list[Path]:
        if self._directory is None:
            return []
        if not self._directory.is_dir():
            # It is being mounted again, say.
            return [path for path in self._known if path.parent == self._directory]
        return _files(self._directory)

    def _read(self, path: Path) -> tuple[tuple[int, int], Checkpoint | None]:
        # Of a link that leads nowhere, or a file that has gone meanwhile.
        stamp = (0, 0)
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
        except OSError:
            pass
        known = self._known.get(path)
        if known and known[0] == stamp:
            return known
        try:
            checkpoint = named(path)
            checkpoint.sha256  # noqa: B018 (of the file as it is now)
        except (CheckpointError, OSError) as error:
            before = known[1] if known else None
            logger.error("%s is %s: %s", path, "served as it was before" if before else "not served", error)
            return stamp, before
        return stamp, checkpoint


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _name(path: Path) -> str:
    return path.stem.partition("@")[0]
