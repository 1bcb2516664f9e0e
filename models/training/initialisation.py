"""A network that starts from weights trained for something else: an encoder alone, or a model of another label set."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models.weights.checkpoint import Checkpoint, CheckpointError, mismatches

# What our networks call the part that an encoder's own file leaves unnamed.
_PREFIXES = ("", "encoder.", "backbone.")


def initialise(network: nn.Module, path: Path) -> str:
    """Give `network`, in place, the tensors of a safetensors file that match by name and shape.

    An encoder's file may name its tensors from the encoder on. Returns, for the log, how many were taken and which were
    not. Raises CheckpointError where the file cannot be read or no kernel of it fits.
    """
    try:
        given = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from error
    # Counters of batches belong to the run that counted them.
    wanted = {name: tensor for name, tensor in network.state_dict().items() if tensor.dim() > 0}
    given = {name: tensor for name, tensor in given.items() if tensor.dim() > 0}
    named = max((_prefixed(given, prefix) for prefix in _PREFIXES), key=lambda tensors: len(_fitting(wanted, tensors)))
    taken = _fitting(wanted, named)
    # Norms of equal width fit by chance.
    if not any(tensor.dim() > 1 for tensor in taken.values()):
        raise CheckpointError(
            f"nothing in {path} fits this model: no kernel has the name and shape of one of its own; "
            + "; ".join(mismatches(wanted, named))
        )
    network.load_state_dict(taken, strict=False)
    rest = "; ".join(mismatches(wanted, named)) or "none"
    return f"took {len(taken)} of the model's {len(wanted)} tensors from {path}; not taken: {rest}"


def origin(path: Path) -> str:
    """What a model card says of weights that began as `path`: the card that it has itself, or its name."""
    try:
        card = Checkpoint.open(path).card
    except CheckpointError:
        return f"started from {path.name}"
    return f"started from {card.name}@{card.version} ({card.data}; licence: {card.licence})"


def _prefixed(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _fitting(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: t for name, t in given.items() if name in wanted and wanted[name].shape == t.shape}
