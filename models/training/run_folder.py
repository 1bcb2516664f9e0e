"""The folder of a training run: the state from which the run goes on, its weights, its log and its curve.

Files are written whole or not at all, so that a full disk spoils none.
"""

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from models.training.curve import plot_curve
from models.training.dataset import SegmentationFolder
from models.training.recipe import Recipe
from models.weights.card import Card
from models.weights.checkpoint import save


class RunError(Exception):
    """A run that cannot be started or continued; the message says what to do."""


class RunFolder:
    """One run's files, of one process at a time.

    Raises RunError where a new run would overwrite one, there is none to resume, or another process has it.
    """

    def __init__(self, path: Path, *, resume: bool) -> None:
        self.last, self.best = path / "last.safetensors", path / "best.safetensors"
        self._path, self._state = path, path / "state.pt"
        if resume and not self._state.exists():
            raise RunError(f"nothing to resume: there is no {self._state}")
        if not resume and self._state.exists():
            raise RunError(f"{path} already holds a run: continue it with --resume, or give another --out")
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = os.open(path / "lock", os.O_CREAT | os.O_WRONLY, 0o644)
        except OSError as error:
            raise RunError(f"{path} cannot be written: {error}; give another --out") from error
        try:
            # Held as long as this process lives, and by it alone, not by those that load its photos.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Others come of file systems that know no locks.
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise RunError(f"another process trains in {path}: stop that one, or give another --out") from error

    def load_state(self, recipe: Recipe, photos: str) -> dict[str, Any]:
        """What `save_state` was given, on the CPU. Raises RunError if that was of another recipe or other photos."""
        try:
            state: dict[str, Any] = torch.load(self._state, map_location="cpu")
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            raise RunError(
                f"{self._state} cannot be read: {error}; go on from the last weights in another --out with "
                f"--init {self.last}"
            ) from error
        # Validated, so that fields younger than the run have their defaults.
        if Recipe.model_validate(state["recipe"]) != recipe:
            raise RunError(
                f"{self._state} was made with another recipe, --model or --accumulate: "
                "resume with those, or give another --out"
            )
        # Runs older than this field have none.
        if state.get("photos", photos) != photos:
            raise RunError(f"{self._state} was made with other photos: resume with the same --data and --exclude")
        return state

    def save_state(self, recipe: Recipe, photos: str, state: dict[str, Any]) -> None:
        """Raises RunError where it cannot be written."""
        with _written(self._state) as temporary:
            torch.save(state | {"recipe": recipe.model_dump(mode="json"), "photos": photos}, temporary)

    def save_weights(self, network: nn.Module, card: Card, path: Path) -> None:
        """To `last` or `best`. Raises RunError where they cannot be written."""
        with _written(path) as temporary:
            save(network, card, temporary)

    def log(self, row: dict[str, Any]) -> None:
        """Add what an epoch gave to log.jsonl and curve.png. Raises RunError where they cannot be written."""
        path = self._path / "log.jsonl"
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
        # A run that ended before its state was saved logs the epoch again.
        rows = [earlier for earlier in rows if earlier["epoch"] < row["epoch"]] + [row]
        with _written(path) as temporary:
            temporary.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
        with _written(self._path / "curve.png") as temporary:
            plot_curve(rows, temporary)


@contextmanager
def _written(path: Path) -> Iterator[Path]:
    """A file to write that becomes `path`. Raises RunError where there is no room for it."""
    temporary = path.with_suffix(".tmp")
    try:
        yield temporary
        temporary.replace(path)
    # PyTorch has RuntimeErrors for full disks.
    except (OSError, RuntimeError) as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise RunError(f"{path} cannot be written: {error}; make room there, then --resume") from error


def hash_of(*splits: SegmentationFolder) -> str:
    """Of their photos' names: the folder may have moved."""
    names = [[photo.name for photo in split.photos] for split in splits]
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()
