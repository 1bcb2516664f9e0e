"""A network that starts from weights trained for something else: an encoder alone, or a model of another label set."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from models.training.public_names import our_names
from models.weights.checkpoint import Checkpoint, CheckpointError, mismatches


def initialise(network: nn.Module, path: Path, *, whole: bool = False) -> str:
    """Give `network`, in place, the tensors of a safetensors file that match by name and shape.

    An encoder's file may name its tensors from the encoder on, and as public checkpoints do. Returns, for the log, how
    many were taken and which were not. Raises CheckpointError where the file cannot be read, no kernel of it fits or,
    where it must be `whole`, a tensor is missing.
    """
    try:
        given = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from error
    # Counters of batches belong to the run that counted them.
    wanted = {name: tensor for name, tensor in network.state_dict().items() if tensor.dim() > 0}
    given = {name: tensor for name, tensor in given.items() if tensor.dim() > 0}
    named = {ours: given[theirs] for ours, theirs in our_names(given, wanted).items()}
    taken = {name: t for name, t in named.items() if name in wanted and wanted[name].shape == t.shape}
    # Norms of equal width fit by chance.
    if not any(tensor.dim() > 1 for tensor in taken.values()):
        raise CheckpointError(
            f"nothing in {path} fits this model: no kernel has the name and shape of one of its own; "
            + "; ".join(mismatches(wanted, named))
        )
    rest = "; ".join(mismatches(wanted, named))
    if whole and len(taken) < len(wanted):
        raise CheckpointError(
            f"{path} does not fill this model, whose recipe keeps a share of it (init_share): give weights of "
            f"the same model and label set, or take init_share out; {rest}"
        )
    network.load_state_dict(taken, strict=False)
    return f"took {len(taken)} of the model's {len(wanted)} tensors from {path}; not taken: {rest or 'none'}"


def origin(path: Path) -> str:
    """What a model card says of weights that began as `path`: the card that it has itself, or its name."""
    try:
        card = Checkpoint.open(path).card
    except CheckpointError:
        return f"started from {path.name}"
    return f"started from {card.name}@{card.version} ({card.data}; licence: {card.licence})"
