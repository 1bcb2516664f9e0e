"""The folder of a training run, and the state in it from which the run goes on."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from models.training.dataset import SegmentationFolder
from models.training.recipe import Recipe


class RunError(Exception):
    """A run that cannot be started or continued; the message says what to do."""


class RunFolder:
    """One run's files. Raises RunError where a new run would overwrite one, or there is none to resume."""

    def __init__(self, path: Path, *, resume: bool) -> None:
        self.path, self.resume = path, resume
        self._state = path / "state.pt"
        if resume and not self._state.exists():
            raise RunError(f"nothing to resume: there is no {self._state}")
        if not resume and self._state.exists():
            raise RunError(f"{path} already holds a run: continue it with --resume, or give another --out")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{path} cannot be made: {error}; give another --out") from error

    def load(self, recipe: Recipe, photos: str, device: torch.device) -> dict[str, Any]:
        """What `save` was given. Raises RunError if that was of another recipe or other photos."""
        state: dict[str, Any] = torch.load(self._state, map_location=device)
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
        """Whole or not at all."""
        temporary = self.path / "state.tmp"
        torch.save(state | {"recipe": recipe.model_dump(mode="json"), "photos": photos}, temporary)
        temporary.replace(self._state)


def hash_of(*splits: SegmentationFolder) -> str:
    """Of their photos' names: the folder may have moved."""
    names = [[photo.name for photo in split.photos] for split in splits]
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()
