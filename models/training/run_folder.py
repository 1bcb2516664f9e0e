"""The folder of a training run, and the state in it from which the run goes on."""

import errno
import fcntl
import hashlib
import json
import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from models.training.dataset import SegmentationFolder
from models.training.recipe import Recipe


class RunError(Exception):
    """A run that cannot be started or continued; the message says what to do."""


class RunFolder:
    """One run's files, of one process at a time.

    Raises RunError where a new run would overwrite one, there is none to resume, or another process has it.
    """

    def __init__(self, path: Path, *, resume: bool) -> None:
        self.path, self.resume = path, resume
        self._state = path / "state.pt"
        if resume and not self._state.exists():
            raise RunError(f"nothing to resume: there is no {self._state}")
        if not resume and self._state.exists():
            raise RunError(f"{path} already holds a run: continue it with --resume, or give another --out")
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = os.open(path / "lock", os.O_CREAT | os.O_WRONLY)
        except OSError as error:
            raise RunError(f"{path} cannot be written: {error}; give another --out") from error
        try:
            # Held as long as this process lives, and by it alone, not by those that load its photos.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Others come of file systems that know no locks.
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise RunError(f"another process trains in {path}: stop that one, or give another --out") from error

    def load(self, recipe: Recipe, photos: str, device: torch.device) -> dict[str, Any]:
        """What `save` was given. Raises RunError if that was of another recipe or other photos."""
        try:
            state: dict[str, Any] = torch.load(self._state, map_location=device)
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            raise RunError(
                f"{self._state} cannot be read: {error}; go on from the last weights in another --out with "
                f"--init {self.path / 'last.safetensors'}"
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

    def save(self, recipe: Recipe, photos: str, state: dict[str, Any]) -> None:
        """Whole or not at all. Raises RunError where there is no room for it."""
        temporary = self.path / "state.tmp"
        try:
            torch.save(state | {"recipe": recipe.model_dump(mode="json"), "photos": photos}, temporary)
            temporary.replace(self._state)
        except (OSError, RuntimeError) as error:
            temporary.unlink(missing_ok=True)
            raise RunError(f"{self._state} cannot be written: {error}; make room there, then --resume") from error


def hash_of(*splits: SegmentationFolder) -> str:
    """Of their photos' names: the folder may have moved."""
    names = [[photo.name for photo in split.photos] for split in splits]
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()
