"""Model archives (.mar) for TorchServe: the same bytes for the same checkpoint."""

import json
import zipfile
from pathlib import Path

from models.weights.checkpoint import Checkpoint
from models.weights.quantised import quantised_file

HANDLER = "models.torchserve.handler"
# The earliest that a zip file can hold: an archive must not tell when it was made.
_DATE = (1980, 1, 1, 0, 0, 0)


def archive_name(checkpoint: Checkpoint) -> str:
    """NAME@VERSION.mar"""
    return f"{checkpoint.card.name}@{checkpoint.card.version}.mar"


def write_archive(checkpoint: Checkpoint, path: Path, *, handler: str = HANDLER) -> None:
    """Write the archive of `checkpoint`, with its quantised graph if it has one, to `path`, whole or not at all.

    handler: the module, installed beside segserve, that holds the handler's class.
    """
    weights = f"{checkpoint.card.name}@{checkpoint.card.version}.safetensors"
    manifest = {
        "runtime": "python",
        "archiverVersion": "0.12.0",
        "createdOn": "01/01/1980 00:00:00",
        "model": {
            "modelName": checkpoint.card.name,
            "modelVersion": str(checkpoint.card.version),
            "serializedFile": weights,
            "handler": handler,
        },
    }
    temporary = path.with_name(f"{path.name}.tmp")
    # Weights do not compress, and TorchServe unpacks the archive at every start.
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "MAR-INF/MANIFEST.json", json.dumps(manifest, indent=2, sort_keys=True).encode())
        _add(archive, weights, checkpoint.path.read_bytes())
        quantised = quantised_file(checkpoint)
        if quantised.exists():
            _add(archive, Path(weights).with_suffix(".int8.zip").name, quantised.read_bytes())
    temporary.replace(path)


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.external_attr = 0o644 << 16
    entry.create_system = 3  # what the mode above is read as: Unix
    archive.writestr(entry, data)
