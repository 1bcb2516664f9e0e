"""Reading and writing checkpoints: safetensors, weights in half precision, the card in the header."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialise
from torch import Tensor, nn

from models.validation import explain
from models.weights.card import Card

CARD_KEY = "segserve"
_NAMED = re.compile(r"([a-z0-9][a-z0-9._-]*)@([1-9][0-9]*)")
_SHOWN = 5


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or does not fit; the message says which and why."""


def model_id(path: Path) -> tuple[str, int] | None:
    """Name and version of a file NAME@VERSION.safetensors; None for one that is named otherwise."""
    match = _NAMED.fullmatch(path.stem)
    return (match[1], int(match[2])) if match else None


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file; only its header is read until `load_into`.

    One that is called NAME@VERSION.safetensors has that name and version, whatever they were when it was written.
    """

    path: Path
    card: Card

    @classmethod
    def open(cls, path: Path) -> "Checkpoint":
        """Raises CheckpointError where the file is not a segserve checkpoint."""
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
            card = Card.model_validate_json(metadata[CARD_KEY])
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from error
        except KeyError:
            raise CheckpointError(
                f"{path} has no '{CARD_KEY}' entry in its header: it was not written by `segserve train`"
            ) from None
        except ValidationError as error:
            raise CheckpointError(f"the header of {path} does not describe a model: {explain(error)}") from error
        name, version = model_id(path) or (card.name, card.version)
        return cls(path, card.model_copy(update={"name": name, "version": version}))

    @cached_property
    def sha256(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def load_into(self, network: nn.Module) -> None:
        """Give `network` (it may be on the meta device) these weights in float32; CheckpointError on any mismatch."""
        weights = {
            name: tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in load_file(self.path).items()
        }
        problems = mismatches(network.state_dict(), weights)
        if problems:
            raise CheckpointError(
                f"{self.path} does not fit {self.card.architecture} with {self.card.num_classes} classes: "
                + "; ".join(problems)
            )
        network.load_state_dict(weights, assign=True)


def mismatches(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """What differs between a network's state and a file's, one phrase a kind; empty where they fit."""
    missing = sorted(wanted.keys() - given.keys())
    unexpected = sorted(given.keys() - wanted.keys())
    shapes = sorted(
        f"{name} is {tuple(given[name].shape)}, not {tuple(wanted[name].shape)}"
        for name in wanted.keys() & given.keys()
        if given[name].shape != wanted[name].shape
    )
    types = sorted(
        f"{name} is {given[name].dtype}, not {wanted[name].dtype}"
        for name in wanted.keys() & given.keys()
        if given[name].is_floating_point() != wanted[name].is_floating_point()
    )
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": shapes, "of another type": types}
    return [
        f"{len(names)} {kind} ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"
        for kind, names in kinds.items()
        if names
    ]


def save(network: nn.Module, card: Card, path: Path) -> None:
    """Write `network` to `path`, whole or not at all. Kernels in float16; vectors, which cost nothing, in float32."""
    weights = {
        name: tensor.to("cpu", torch.float16 if tensor.dim() > 1 else tensor.dtype).contiguous()
        for name, tensor in network.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(serialise(weights, metadata={CARD_KEY: card.model_dump_json(exclude_none=True)}))
    temporary.replace(path)
