"""The folder in which segserve keeps what it compiles: graphs of networks, each in a folder of its own, and numba's.

A graph's folder comes and goes whole, by being renamed, so that any number of processes may use the cache at once.
"""

import hashlib
import os
import re
import shutil
import time
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from models.weights.checkpoint import Checkpoint
from models.weights.quantised import quantised_file

_MODELS = Path(__file__).parent.parent
_SHAPE_A_GRAPH = ("batch_norm_folding.py", "compilation.py", "normalisation.py")
_UNFINISHED = "unfinished-"
_ABANDONED_S = 24 * 3600
"""After which nobody writes to a folder any more, or is about to load from it."""


def cache_dir() -> Path:
    """SEGSERVE_CACHE_DIR, or else segserve's folder in the user's cache."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("SEGSERVE_CACHE_DIR") or caches / "segserve")


def graph_path(checkpoint: Checkpoint, folder: Path | None = None) -> Path:
    """Where the checkpoint's graph is kept in the cache that is `folder`, or None for `cache_dir()`.

    Its name has a hash of all that it was made of: weights, code and versions.
    """
    card, quantised = checkpoint.card, quantised_file(checkpoint)
    weights = checkpoint.sha256 + (hashlib.sha256(quantised.read_bytes()).hexdigest() if quantised.exists() else "")
    made_of = hashlib.sha256(f"{weights} {_code()} {version('torch')} {version('openvino')}".encode())
    return (folder or cache_dir()) / f"{card.name}@{card.version}-{made_of.hexdigest()[:16]}" / "graph.xml"


def quantised_path(path: Path) -> Path:
    """Where the int8 graph lies that was quantised from the graph at `path`, if the checkpoint holds one."""
    return path.with_name("int8.xml")


def unfinished(path: Path) -> TemporaryDirectory[str]:
    """A folder in which the folder of the graph at `path` can be made, or be removed. Raises OSError."""
    path.parent.parent.mkdir(parents=True, exist_ok=True)
    return TemporaryDirectory(prefix=_UNFINISHED, dir=path.parent.parent)


def discard(path: Path) -> None:
    """Remove the folder of the graph at `path`, unless another process did. Raises OSError."""
    with unfinished(path) as folder, suppress(FileNotFoundError):
        path.parent.rename(Path(folder) / path.parent.name)


def prune(path: Path) -> None:
    """Remove what the graph at `path` replaces: its checkpoint's of other code, and what killed processes left behind.

    Nothing younger than a day, as another process may be at work with it. What cannot be removed stays.
    """
    name = path.parent.name.rpartition("-")[0]
    replaced = re.compile(rf"{_UNFINISHED}.*|{re.escape(name)}-[0-9a-f]{{16}}")
    for folder in path.parent.parent.iterdir():
        # Another process may be faster.
        with suppress(OSError):
            abandoned = time.time() - folder.stat().st_mtime > _ABANDONED_S
            if folder != path.parent and replaced.fullmatch(folder.name) and abandoned:
                shutil.rmtree(folder)


@cache
def _code() -> str:
    """A hash of the code that shapes a graph."""
    shaping = [*sorted((_MODELS / "zoo").glob("*.py")), *(_MODELS / "engine" / name for name in _SHAPE_A_GRAPH)]
    digest = hashlib.sha256(version("segserve").encode())
    for source in shaping:
        digest.update(source.read_bytes())
    return digest.hexdigest()
