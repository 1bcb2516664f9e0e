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
    params: float | None
    macs: float | None


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network that can be built for any number of classes."""

    name: str
    family: str
    build: Callable[[int], nn.Module]
    paper: Paper


# Meng et al. 2022: params and multiply-adds of S, M, L from Table 4, of Lite-S from Table 6; Cityscapes.
_ESEG_PRINTED: dict[str, tuple[float | None, float | None]] = {
    "lite-s": (None, 17e9),
    "lite-m": (None, None),
    "lite-l": (None, None),
    "s": (6.9e6, 34.5e9),
    "m": (20.0e6, 112e9),
    "l": (70.5e6, 343e9),
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


def build(architecture: str, num_classes: int) -> nn.Module:
    """A new network with random weights. Raises LookupError with the known names."""
    try:
        return ARCHITECTURES[architecture].build(num_classes)
    except KeyError:
        raise LookupError(f"no architecture '{architecture}'; there are: {', '.join(ARCHITECTURES)}") from None
