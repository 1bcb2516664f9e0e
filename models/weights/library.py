"""The checkpoints at hand: those that ship, and those in a directory of the user's own.

A name that is in the user's directory is the user's: no shipped version of it is ever taken in place of theirs.
"""

from pathlib import Path

from models.weights.checkpoint import Checkpoint, CheckpointError, model_id

SHIPPED = Path(__file__).parent


class UnknownModelError(LookupError):
    """No checkpoint of that name and version; the message lists those at hand."""


def library(directory: Path | None = None) -> list[Checkpoint]:
    """All checkpoints by name, oldest version first: those in `directory`, and those shipped under other names.

    Raises CheckpointError where there is no such folder, and for a file in either that is no checkpoint or is not
    called NAME@VERSION.safetensors.
    """
    check(directory)
    own = _checkpoints(directory) if directory else []
    taken = {checkpoint.card.name for checkpoint in own}
    shipped = [checkpoint for checkpoint in _checkpoints(SHIPPED) if checkpoint.card.name not in taken]
    return sorted(shipped + own, key=lambda checkpoint: (checkpoint.card.name, checkpoint.card.version))


def find(model: str, directory: Path | None = None) -> Checkpoint:
    """The checkpoint called `model`: NAME (its newest version) or NAME@VERSION.

    Raises UnknownModelError, and what `library` raises.
    """
    checkpoints = library(directory)
    matches = [c for c in checkpoints if model in (c.card.name, f"{c.card.name}@{c.card.version}")]
    if not matches:
        known = ", ".join(f"{c.card.name}@{c.card.version}" for c in checkpoints) or "none"
        raise UnknownModelError(f"there are no weights for model '{model}'; those at hand: {known}")
    return matches[-1]


def check(directory: Path | None) -> None:
    """Raises CheckpointError where the user's folder is not there: what ships must not pass for what is in it."""
    if directory and not directory.is_dir():
        raise CheckpointError(f"there is no folder {directory} to take models from")


def named(path: Path) -> Checkpoint:
    """The checkpoint at `path`, in a folder of models. Raises CheckpointError."""
    checkpoint = Checkpoint.open(path)
    if model_id(path) is None:
        raise CheckpointError(
            f"{path} is not called NAME@VERSION.safetensors (lower case, a whole number from 1), "
            f"such as {checkpoint.card.name}@{checkpoint.card.version}.safetensors"
        )
    return checkpoint


def _checkpoints(folder: Path) -> list[Checkpoint]:
    return [named(path) for path in sorted(folder.glob("*.safetensors"))]
