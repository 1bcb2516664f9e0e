"""A checkpoint's network in int8 (see models/engine/quantisation.py), kept in a file beside it: NAME@VERSION.int8.zip.

The file names the weights that it was made of, so that a new checkpoint under an old name never runs the old network.
"""

import logging
import zipfile
from dataclasses import dataclass
from pathlib import Path

from models.weights.checkpoint import Checkpoint, CheckpointError

logger = logging.getLogger("segserve")
_XML, _BIN, _WEIGHTS = "graph.xml", "graph.bin", "weights.sha256"
# The earliest that a zip file can hold: the same graph makes the same file.
_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class QuantisedGraph:
    """A graph as OpenVINO stores it, normalisation included."""

    xml: bytes
    bin: bytes


def quantised_file(checkpoint: Checkpoint) -> Path:
    """Where the checkpoint's quantised graph is kept, if it has one."""
    return checkpoint.path.with_suffix(".int8.zip")


def read_quantised(checkpoint: Checkpoint) -> QuantisedGraph | None:
    """None where there is none, or, with a log line, where it was made of other weights. Raises CheckpointError."""
    path = quantised_file(checkpoint)
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as file:
            if file.read(_WEIGHTS).decode() != checkpoint.sha256:
                logger.warning("%s is not used: it was made of other weights; make it with `segserve quantise`", path)
                return None
            return QuantisedGraph(file.read(_XML), file.read(_BIN))
    except (KeyError, OSError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} cannot be read, remove it or make it again: {error}") from error


def write_quantised(checkpoint: Checkpoint, graph: QuantisedGraph) -> Path:
    """Write the file, whole or not at all. Raises OSError."""
    path = quantised_file(checkpoint)
    temporary = path.with_suffix(".tmp")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for name, data in ((_XML, graph.xml), (_BIN, graph.bin), (_WEIGHTS, checkpoint.sha256.encode())):
            file.writestr(zipfile.ZipInfo(name, _DATE), data, compress_type=zipfile.ZIP_DEFLATED, compresslevel=9)
    temporary.replace(path)
    return path
