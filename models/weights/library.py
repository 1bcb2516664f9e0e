"""The checkpoints at hand: those that ship, and those in a directory of the user's own."""

from pathlib import Path

from models.weights.checkpoint import Checkpoint

SHIPPED = Path(__file__).parent


class UnknownModelError(LookupError):
    """No checkpoint of that name and version; the message lists those at hand."""


def library(directory: Path | None = None) -> list[Checkpoint]:
    """All checkpoints by name, oldest version first: those shipped and those in `directory`, which hide shipped ones.

    Raises CheckpointError for a file in either folder that is no checkpoint.
    """
    found: dict[tuple[str, int], Checkpoint] = {}
    for folder in (SHIPPED, directory):
        for path in sorted(folder.glob("*.safetensors")) if folder else ():
            checkpoint = Checkpoint.open(path)
            found[checkpoint.card.name, checkpoint.card.version] = checkpoint
    return [found[key] for key in sorted(found)]


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
