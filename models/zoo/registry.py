"""Every architecture by name, with what its paper prints."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from models.zoo.eseg import SIZES, ESeg


@dataclass(frozen=True, slots=True)
class Paper:
    """The configuration that a paper counts, and its printed figures (None where it prints none).

    params: learnable numbers. macs: multiply-adds at `at` (height, width), batch 1, up to the logits.
    """

    at: tuple[int, int]
    num_classes: int
    params: int | None
    macs: int | None


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network that can be built for any number of classes."""

    name: str
    family: str
    build: Callable[[int], nn.Module]
    paper: Paper


# Meng et al. 2022: params and multiply-adds of S, M, L from Table 4, of Lite-S from Table 6; Cityscapes.
_ESEG_PRINTED: dict[str, tuple[int | None, int | None]] = {
    "lite-s": (None, 17_000_000_000),
    "lite-m": (None, None),
    "lite-l": (None, None),
    "s": (6_900_000, 34_500_000_000),
    "m": (20_000_000, 112_000_000_000),
    "l": (70_500_000, 343_000_000_000),
}

ARCHITECTURES = {
    f"eseg-{size}": Architecture(
        name=f"eseg-{size}",
        family="eseg",
        build=partial(ESeg, SIZES[size]),
        paper=Paper((1024, 2048), 19, params, macs),
    )
    for size, (params, macs) in _ESEG_PRINTED.items()
}


class UnknownArchitectureError(LookupError):
    """No architecture of that name; the message lists those there are."""


def architecture(name: str) -> Architecture:
    """Raises UnknownArchitectureError."""
    if name not in ARCHITECTURES:
        raise UnknownArchitectureError(f"no architecture '{name}'; there are: {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def build(name: str, num_classes: int) -> nn.Module:
    """A new network with random weights. Raises UnknownArchitectureError."""
    return architecture(name).build(num_classes)
